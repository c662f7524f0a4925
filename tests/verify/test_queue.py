"""Which backup is read next, and the thread that reads it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.model import Known, Location, Origin, Proof, RdbReport, Reason, Status, VerifyPolicy
from exporter.verify import verifier
from exporter.verify.engines import Cancelled, Limits
from exporter.verify.queue import Job, Shelf, Why, next_job
from exporter.verify.verifier import Done, Verifier
from tests.judge.builders import DAY, HOUR, NOW, known, replace, report, unseen

HERE = Location(name="local", path="/b")
LIVE = Location(name="live", path="/d", origin=Origin.SERVER_FILE)
POLICY = VerifyPolicy()


def proven(name: str, *, arrived: float, status: Status = Status.VALID, **facts: Any) -> Known:
    """A file whose proof is as new as the file itself."""
    found = known(name, report(status, age=arrived), arrived=arrived, ctime_ns=7)
    assert found.proof is not None
    proof = replace(found.proof, **{"ctime_ns": 7, "verified_at": NOW - 60, **facts})
    return replace(found, proof=proof)


def planned(*files: Known, location: Location = HERE, **shelf: Any) -> tuple[str, Why] | None:
    job = next_job([Shelf(location=location, known=files, **shelf)], POLICY, NOW)
    return None if job is None else (job.known.backup.name, job.why)


def test_the_newest_is_read_first_and_alone() -> None:
    files = [known(f"{n}.rdb", arrived=n * HOUR) for n in (3, 1, 2)]
    assert planned(*files) == ("1.rdb", Why.ARRIVAL)


def test_what_is_not_settled_or_can_not_be_opened_waits() -> None:
    assert planned(known("a.rdb", settled=False, identity=None)) is None
    assert planned(known("a.rdb", identity="x", failure=unseen(Reason.UNREADABLE))) is None


def test_while_the_newest_settles_the_one_before_is_read() -> None:
    fresh = known("new.rdb", arrived=1, settled=False, identity=None)
    assert planned(fresh, known("old.rdb", arrived=60)) == ("old.rdb", Why.ARRIVAL)


def test_a_backlog_is_read_until_seven_distinct_snapshots_are_known() -> None:
    done = [proven(f"{n}.rdb", arrived=n * HOUR) for n in range(1, 7)]
    rest = [known(f"{n}.rdb", arrived=n * HOUR) for n in range(7, 500)]
    assert planned(*done, *rest) == ("7.rdb", Why.BACKLOG)
    assert planned(*done, proven("7.rdb", arrived=7 * HOUR), *rest[1:]) is None


def test_a_backlog_of_copies_of_one_snapshot_ends_at_its_limit() -> None:
    def twins(count: int) -> list[Known]:
        files = [proven(f"{n}.rdb", arrived=n * HOUR) for n in range(1, count + 1)]
        return [replace(k, proof=replace(k.proof, report=report(age=5))) for k in files if k.proof]

    rest = [known(f"{n}.rdb", arrived=n * HOUR) for n in range(9, 20)]
    assert planned(*twins(7), *rest) == ("9.rdb", Why.BACKLOG)
    assert planned(*twins(8), *rest) is None


def test_a_backlog_is_read_on_until_a_valid_one_is_found() -> None:
    bad = [proven(f"{n}.rdb", arrived=n * HOUR, status=Status.CORRUPT) for n in range(1, 30)]
    assert planned(*bad, known("30.rdb", arrived=30 * HOUR)) == ("30.rdb", Why.BACKLOG)


def test_an_arrival_anywhere_goes_before_a_backlog_anywhere() -> None:
    busy = Shelf(location=HERE, known=(proven("a.rdb", arrived=1), known("b.rdb", arrived=2)))
    other = Shelf(location=LIVE, known=(known("dump.rdb", arrived=5),))
    job = next_job([busy, other], POLICY, NOW)
    assert job is not None
    assert (job.location.name, job.why) == ("live", Why.ARRIVAL)


@pytest.mark.parametrize(
    ("attempts", "ago", "due"),
    [(1, 59, False), (1, 61, True), (3, 239, False), (3, 241, True), (20, 3601, True)],
)
@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.UNREADABLE])
def test_what_could_not_be_verified_is_tried_again_ever_more_rarely(
    status: Status, attempts: int, ago: float, due: bool
) -> None:
    tried = proven("a.rdb", arrived=5, status=status, attempts=attempts, verified_at=NOW - ago)
    assert planned(tried) == (("a.rdb", Why.RETRY) if due else None)


def test_a_broken_file_is_not_read_again() -> None:
    assert planned(proven("a.rdb", arrived=5, status=Status.CORRUPT)) is None


def test_a_file_that_somebody_touched_is_read_again() -> None:
    assert planned(proven("a.rdb", arrived=5, ctime_ns=6)) == ("a.rdb", Why.TOUCHED)


def test_the_newest_valid_is_read_again_for_bit_rot() -> None:
    old = proven("a.rdb", arrived=9 * DAY, verified_at=NOW - 8 * DAY)
    assert planned(old) == ("a.rdb", Why.REVERIFY)
    assert planned(proven("a.rdb", arrived=9 * DAY, verified_at=NOW - 6 * DAY)) is None


@pytest.mark.parametrize(
    ("ended", "took", "due"), [(59, 1, False), (61, 1, True), (200, 30, False), (301, 30, True)]
)
def test_a_server_that_saves_all_the_time_is_not_chased(
    ended: float, took: float, due: bool
) -> None:
    files = (
        known("dump.rdb", arrived=1),
        replace(proven("dump.rdb", arrived=50), exists=False),
    )
    how: dict[str, Any] = {"last_read_ended_at": NOW - ended, "last_read_seconds": took}
    expected = ("dump.rdb", Why.ARRIVAL) if due else None
    assert planned(*files, location=LIVE, **how) == expected
    assert planned(*files, location=HERE, **how) == ("dump.rdb", Why.ARRIVAL)


class Gate:
    """An engine whose readings a test opens, cancels or breaks."""

    name = "gate"

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()
        self.error: BaseException | None = None
        self.status = Status.VALID
        self.deaf = False
        """Waits as a read() of a hung mount does."""

    def read(
        self,
        fd: int,
        *,
        limits: Limits,
        depth: str = "full",
        progress: Callable[[int], None],
        cancelled: Callable[[], bool],
    ) -> RdbReport:
        self.entered.set()
        progress(5)
        while not self.open.wait(0.01):
            if not self.deaf and cancelled():
                raise Cancelled("told to stop")
        if self.error:
            raise self.error
        return RdbReport(status=self.status, bytes=os.fstat(fd).st_size, engine=self.name)


class Store:
    def __init__(self) -> None:
        self.proofs: dict[str, Proof] = {}

    def proof(self, identity: str) -> Proof | None:
        return self.proofs.get(identity)

    def prove(self, proof: Proof) -> None:
        self.proofs[proof.identity] = proof


class Reader:
    def __init__(self, path: Path, origin: Origin = Origin.COPY) -> None:
        self.path = path
        self.gate, self.store = Gate(), Store()
        self.done: list[Done] = []
        self.told = threading.Event()
        self.verifier = Verifier(self.gate, self.store, POLICY, self._note)
        self.location = Location(name="local", path=str(path.parent), origin=origin)
        self.verifier.start()

    def _note(self, done: Done) -> None:
        if done.report is not None:
            assert done.job.known.identity in self.store.proofs, "told before it was committed"
        self.done.append(done)
        self.told.set()

    def offer(self) -> bool:
        stat = self.path.stat()
        found = known(
            self.path.name,
            path=str(self.path),
            inode=stat.st_ino,
            size_bytes=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            ctime_ns=stat.st_ctime_ns,
        )
        return self.verifier.offer(Job(location=self.location, known=found, why=Why.ARRIVAL))

    def wait(self) -> Done:
        assert self.told.wait(20)
        self.told.clear()
        return self.done[-1]


@pytest.fixture
def reader(tmp_path: Path) -> Any:
    path = tmp_path / "a.rdb"
    path.write_bytes(b"x" * 10)
    made = Reader(path)
    yield made
    made.gate.open.set()
    made.verifier.stop()


def test_one_file_at_a_time_with_progress_and_proof_before_news(reader: Reader) -> None:
    assert reader.offer()
    assert reader.gate.entered.wait(20)
    assert not reader.offer()
    assert reader.verifier.busy
    state = reader.verifier.state()
    assert (state.location, state.name, state.ratio) == ("local", "a.rdb", 0.5)
    reader.gate.open.set()
    done = reader.wait()
    assert done.report is not None
    assert done.report.status is Status.VALID
    assert not reader.verifier.busy
    assert reader.verifier.state().name is None


def test_a_stop_cancels_the_reading_and_books_nothing(reader: Reader) -> None:
    reader.offer()
    assert reader.gate.entered.wait(20)
    began = time.monotonic()
    reader.verifier.stop()
    assert time.monotonic() - began < 2
    assert not reader.verifier.alive
    assert reader.store.proofs == {}


def test_a_file_that_takes_the_name_before_it_is_opened_is_not_read_in_its_place(
    reader: Reader,
) -> None:
    stat = reader.path.stat()
    other = reader.path.with_name("other")
    other.write_bytes(b"y" * 10)
    found = known("a.rdb", path=str(reader.path), inode=stat.st_ino, size_bytes=10,
                  mtime_ns=stat.st_mtime_ns)  # fmt: skip
    other.rename(reader.path)
    reader.gate.open.set()
    reader.verifier.offer(Job(location=reader.location, known=found, why=Why.ARRIVAL))
    done = reader.wait()
    assert done.report is None
    assert reader.store.proofs == {}


def test_a_file_that_changes_under_the_reader_is_nobodys(reader: Reader) -> None:
    reader.offer()
    assert reader.gate.entered.wait(20)
    reader.path.write_bytes(b"z" * 11)
    reader.gate.open.set()
    assert reader.wait().report is None
    assert reader.store.proofs == {}


def test_a_file_that_went_away_is_no_result(reader: Reader) -> None:
    stat = reader.path.stat()
    reader.path.unlink()
    found = known("a.rdb", path=str(reader.path), inode=stat.st_ino)
    reader.verifier.offer(Job(location=reader.location, known=found, why=Why.ARRIVAL))
    assert reader.wait().report is None


def test_a_bug_ends_the_thread_and_says_why(reader: Reader) -> None:
    reader.gate.error = RuntimeError("a bug")
    reader.gate.open.set()
    reader.offer()
    deadline = time.monotonic() + 20
    while reader.verifier.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not reader.verifier.alive
    assert isinstance(reader.verifier.failure, RuntimeError)


def test_tries_are_counted(reader: Reader) -> None:
    reader.gate.status = Status.TIMEOUT
    reader.gate.open.set()
    reader.offer()
    reader.wait()
    (proof,) = reader.store.proofs.values()
    stat = reader.path.stat()
    again = known("a.rdb", path=str(reader.path), inode=stat.st_ino, size_bytes=10,
                  mtime_ns=stat.st_mtime_ns)  # fmt: skip
    again = replace(again, proof=proof)
    reader.verifier.offer(Job(location=reader.location, known=again, why=Why.RETRY))
    reader.wait()
    (proof,) = reader.store.proofs.values()
    assert proof.attempts == 2


def test_a_replaced_dump_is_let_go_while_the_disk_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dump.rdb"
    path.write_bytes(b"x" * 10)
    live = Reader(path, Origin.SERVER_FILE)
    try:
        live.offer()
        assert live.gate.entered.wait(20)
        real = os.statvfs(tmp_path)
        short = os.statvfs_result((*real[:3], 0, 0, *real[5:]))
        monkeypatch.setattr(os, "statvfs", lambda _path: short)
        path.unlink()
        done = live.wait()
        assert done.report is None
        assert live.store.proofs == {}
    finally:
        live.gate.open.set()
        live.verifier.stop()


def test_a_read_that_does_not_return_is_given_up(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hung mount must not keep the verdict of before: a thread in the kernel can't be ended."""
    monkeypatch.setattr(verifier, "NOT_BACK_SECONDS", 0.1)
    monkeypatch.setattr(VerifyPolicy, "timeout_seconds", lambda *_: 0.1)
    hung = reader.gate
    hung.deaf = True
    assert reader.offer()
    assert hung.entered.wait(20)
    deadline = time.monotonic() + 20
    while not reader.told.is_set():
        reader.verifier.rescue()
        assert time.monotonic() < deadline
    done = reader.wait()
    assert done.report is not None
    assert (done.report.status, done.report.reason) == (Status.TIMEOUT, verifier.NOT_BACK)
    proofs = dict(reader.store.proofs)
    assert [proof.report.status for proof in proofs.values()] == [Status.TIMEOUT]
    monkeypatch.undo()
    # What the lost thread brings in the end is dropped, and another one reads on.
    lost = [each for each in threading.enumerate() if each.name == "verifier"]
    assert len(lost) == 2
    hung.open.set()
    lost[0].join(20)
    assert reader.store.proofs == proofs
    assert reader.verifier.alive
    assert reader.offer()
    again = reader.wait()
    assert again.report is not None
    assert again.report.status is Status.VALID


def test_when_many_reads_do_not_return_the_process_has_to_end(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier, "NOT_BACK_SECONDS", 0.0)
    monkeypatch.setattr(VerifyPolicy, "timeout_seconds", lambda *_: 0.01)
    reader.gate.deaf = True
    deadline = time.monotonic() + 20
    while reader.verifier.failure is None:
        reader.offer()
        reader.verifier.rescue()
        assert time.monotonic() < deadline
    assert "do not return" in str(reader.verifier.failure)
    assert len(reader.done) == verifier.LOST_MAX
