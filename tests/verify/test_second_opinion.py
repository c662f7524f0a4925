"""What two engines say of one file, compared; and when the second one gets its turn."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.model import (
    ChecksumState,
    Known,
    Location,
    Proof,
    RdbReport,
    SecondOpinion,
    Status,
    VerifyPolicy,
)
from exporter.verify.engines import Limits, engine
from exporter.verify.file import prove
from exporter.verify.queue import Job, Shelf, Why, next_job
from exporter.verify.second_opinion import NO_OPINION, second_opinion
from exporter.verify.verifier import Done, Verifier
from tests.judge.builders import DAY, HOUR, NOW, known
from tests.verify.test_queue import Gate, Store
from tests.verify.truths import fixtures, read

PATIENCE_SECONDS = 30
BROKEN = frozenset(Status) - NO_OPINION - {Status.VALID, Status.PENDING, Status.MISSING}


def said(status: Status = Status.VALID, **facts: Any) -> RdbReport:
    values: dict[str, Any] = {
        "engine": "native",
        "depth": "full",
        "keys": 5,
        "expires": 1,
        "keys_by_db": {0: (3, 1), 7: (2, 0)},
        "keys_by_type": {"string": 4, "hash": 1},
        "functions": 1,
        "checksum": ChecksumState.OK,
        "crc64": 0xABC,
    }
    return RdbReport(status=status, **{**values, **facts})


def other(status: Status = Status.VALID, **facts: Any) -> RdbReport:
    return said(status, engine="rdbtools", depth="structure", **facts)


# The comparison


def test_the_same_facts_agree() -> None:
    opinion = second_opinion(said(seconds=0.1), other(seconds=3.5))
    assert opinion == SecondOpinion(engine="rdbtools", agrees=True, seconds=3.5)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"keys_by_db": {0: (4, 1), 7: (2, 0)}}, "keys in db 0 (all, expiring)"),
        ({"keys_by_db": {0: (3, 2), 7: (2, 0)}}, "keys in db 0 (all, expiring)"),
        ({"keys_by_db": {0: (3, 1)}}, "keys in db 7 (all, expiring): (2, 0) by native, (0, 0)"),
        ({"keys_by_type": {"string": 5}}, "keys of type hash: 1 by native, 0 by rdbtools"),
        ({"functions": 0}, "function libraries: 1 by native, 0 by rdbtools"),
        ({"crc64": 0xDEF}, "checksum: ok 0000000000000abc by native"),
        ({"checksum": ChecksumState.DISABLED, "crc64": None}, "checksum"),
    ],
)
def test_each_count_must_be_the_same(facts: dict[str, Any], told: str) -> None:
    opinion = second_opinion(said(), other(**facts))
    assert opinion.agrees is False
    assert told in opinion.detail


@pytest.mark.parametrize("status", sorted(BROKEN))
def test_valid_against_broken_is_a_disagreement_both_ways(status: Status) -> None:
    broken: dict[str, Any] = {"reason": "for this", "offset": 77}
    assert second_opinion(said(), other(status, **broken)).detail == (
        f"native says valid, rdbtools says {status} at byte 77 (for this)"
    )
    assert second_opinion(said(status, **broken), other()).agrees is False


@pytest.mark.parametrize("status", sorted(BROKEN))
@pytest.mark.parametrize("second", sorted(BROKEN))
def test_broken_for_both_is_agreement_whatever_the_word(status: Status, second: Status) -> None:
    assert second_opinion(said(status), other(second, keys_by_db={}, crc64=1)).agrees is True


@pytest.mark.parametrize("status", sorted(NO_OPINION))
@pytest.mark.parametrize("against", [Status.VALID, Status.CORRUPT])
def test_who_could_not_verify_contradicts_nobody(status: Status, against: Status) -> None:
    opinion = second_opinion(said(against), other(status, reason="no room"))
    assert opinion.agrees is None
    assert opinion.detail == f"rdbtools could not verify it ({status}: no room)"
    opinion = second_opinion(said(status), other(against))
    assert (opinion.agrees, opinion.engine) == (None, "rdbtools")
    assert opinion.detail.startswith("native could not verify it")


def test_what_was_not_counted_is_not_compared() -> None:
    bare = RdbReport(
        status=Status.VALID,
        engine="native",
        depth="checksum",
        checksum=ChecksumState.OK,
        crc64=0xABC,
    )
    assert second_opinion(bare, other()).agrees is True


def test_a_million_differences_are_a_short_text() -> None:
    many = dict.fromkeys(range(1000), (1, 0))
    opinion = second_opinion(said(keys_by_db=many), other(keys_by_db={}))
    assert opinion.detail.endswith("and 995 more")
    assert len(opinion.detail) < 500


def test_the_engines_agree_on_every_fixture() -> None:
    """Real servers' files, and those that were broken on purpose, byte by byte or by rule."""
    limits = Limits(timeout_seconds=60, memory_bytes=1 << 30)
    differing = {}
    for fixture in fixtures():
        first = prove(os.fspath(fixture.path), engine("native"), limits=limits)
        assert isinstance(first, RdbReport)
        opinion = second_opinion(first, replace(read(fixture.data), engine="rdbtools"))
        if opinion.agrees is False:
            differing[fixture.path.name] = opinion.detail
    assert differing == {}


# When it is due


def proven(
    name: str, *, arrived: float = 50, opinion: SecondOpinion | None = None, **facts: Any
) -> Known:
    its = known(name, said(), arrived=arrived, opinion=opinion, ctime_ns=7)
    assert its.proof is not None
    return replace(
        its, proof=replace(its.proof, **{"ctime_ns": 7, "verified_at": NOW - 60, **facts})
    )


AGREED = SecondOpinion(engine="rdbtools", agrees=True)
HERE = Location(name="local", path="/b")


def planned(*files: Known, **policy: Any) -> tuple[str, Why] | None:
    job = next_job([Shelf(location=HERE, known=files)], VerifyPolicy(**policy), NOW)
    return None if job is None else (job.known.backup.name, job.why)


def test_what_the_native_engine_proved_alone_gets_a_second_opinion_once() -> None:
    assert planned(proven("a.rdb")) == ("a.rdb", Why.SECOND_OPINION)
    assert planned(proven("a.rdb", opinion=AGREED)) is None
    assert planned(proven("a.rdb", report=other())) is None
    assert planned(proven("a.rdb", report=said(Status.TRUNCATED))) == ("a.rdb", Why.SECOND_OPINION)


def test_a_file_that_could_not_be_verified_gets_none() -> None:
    tried = proven("a.rdb", report=said(Status.UNSUPPORTED_VERSION))
    assert planned(tried) is None


@pytest.mark.parametrize(
    ("limit", "due"), [(10_000.0, True), (9_999.0, False), (0.0, False), (math.inf, True)]
)
def test_only_up_to_a_size(limit: float, due: bool) -> None:
    job = planned(proven("a.rdb"), second_opinion_max_bytes=limit)
    assert job == (("a.rdb", Why.SECOND_OPINION) if due else None)


def test_everything_else_goes_first() -> None:
    alone = proven("a.rdb", arrived=HOUR)
    assert planned(known("new.rdb", arrived=1), alone) == ("new.rdb", Why.ARRIVAL)
    assert planned(alone, known("old.rdb", arrived=DAY)) == ("old.rdb", Why.BACKLOG)
    rotten = proven("a.rdb", verified_at=NOW - 8 * DAY)
    assert planned(rotten) == ("a.rdb", Why.REVERIFY)
    elsewhere = Shelf(location=Location(name="other", path="/o"), known=(known("b.rdb"),))
    job = next_job([Shelf(location=HERE, known=(alone,)), elsewhere], VerifyPolicy(), NOW)
    assert job is not None
    assert job.why is Why.ARRIVAL


def test_the_newest_first_and_not_the_whole_history() -> None:
    files = [proven(f"{n}.rdb", arrived=n * HOUR) for n in range(1, 20)]
    assert planned(*files) == ("1.rdb", Why.SECOND_OPINION)
    told = [proven(f"{n}.rdb", arrived=n * HOUR, opinion=AGREED) for n in range(1, 9)]
    assert planned(*told, *files[8:]) is None


# The reader


class Reader:
    """A verifier with two engines that a test opens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first, self.second, self.store = Gate(), Gate(), Store()
        self.first.open.set()
        self.told: list[Done] = []
        self.news = threading.Condition()
        self.verifier = Verifier(
            self.first, self.store, VerifyPolicy(), self._note, second=self.second
        )
        self.verifier.start()

    def _note(self, done: Done) -> None:
        with self.news:
            self.told.append(done)
            self.news.notify()

    def job(self, why: Why, **facts: Any) -> Job:
        stat = self.path.stat()
        found = known(
            self.path.name, path=str(self.path), inode=stat.st_ino, size_bytes=stat.st_size,
            mtime_ns=stat.st_mtime_ns, ctime_ns=stat.st_ctime_ns, **facts,
        )  # fmt: skip
        return Job(location=HERE, known=replace(found, proof=self.store.proof("id-a.rdb")), why=why)

    def wait(self, count: int) -> Done:
        with self.news:
            assert self.news.wait_for(lambda: len(self.told) >= count, PATIENCE_SECONDS)
            return self.told[count - 1]

    @property
    def proof(self) -> Proof:
        found = self.store.proof("id-a.rdb")
        assert found is not None
        return found


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    path = tmp_path / "a.rdb"
    path.write_bytes(b"x" * 10)
    made = Reader(path)
    yield made
    made.first.open.set()
    made.second.open.set()
    made.verifier.stop()


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_the_proof_is_told_first_and_the_opinion_is_put_beside_it(reader: Reader) -> None:
    assert reader.verifier.offer(reader.job(Why.ARRIVAL))
    first = reader.wait(1)
    assert (first.report is not None, first.opinion) == (True, None)
    proof = reader.proof
    assert proof.second_opinion is None
    until(lambda: not reader.verifier.busy)
    assert reader.verifier.offer(reader.job(Why.SECOND_OPINION))
    assert reader.second.entered.wait(PATIENCE_SECONDS)
    assert reader.proof is proof, "nothing is kept before it is there"
    reader.second.open.set()
    second = reader.wait(2)
    assert (second.report, second.job.why) == (None, Why.SECOND_OPINION)
    assert second.opinion is not None
    assert second.opinion.agrees is True
    assert reader.proof == replace(proof, second_opinion=second.opinion)


def test_an_arrival_does_not_wait_for_a_second_opinion(reader: Reader) -> None:
    reader.verifier.offer(reader.job(Why.ARRIVAL))
    reader.wait(1)
    until(lambda: not reader.verifier.busy)
    opinion = reader.job(Why.SECOND_OPINION)
    reader.verifier.offer(opinion)
    assert reader.second.entered.wait(PATIENCE_SECONDS)
    assert reader.verifier.busy
    assert reader.verifier.free
    assert not reader.verifier.offer(opinion), "the same again takes no turn from itself"
    assert reader.verifier.offer(reader.job(Why.ARRIVAL))
    assert not reader.verifier.free
    done = reader.wait(2)
    assert (done.job.why, done.report is not None) == (Why.ARRIVAL, True)
    assert reader.proof.second_opinion is None
    until(lambda: not reader.verifier.busy)
    reader.second.open.set()
    assert reader.verifier.offer(reader.job(Why.SECOND_OPINION))
    assert reader.wait(3).opinion is not None


def test_no_arrival_is_interrupted(reader: Reader) -> None:
    reader.first.open.clear()
    reader.verifier.offer(reader.job(Why.ARRIVAL))
    assert reader.first.entered.wait(PATIENCE_SECONDS)
    assert not reader.verifier.free
    assert not reader.verifier.offer(reader.job(Why.ARRIVAL))
    assert not reader.verifier.offer(reader.job(Why.SECOND_OPINION))


def test_a_file_that_changed_meanwhile_gets_no_opinion(reader: Reader) -> None:
    reader.verifier.offer(reader.job(Why.ARRIVAL))
    reader.wait(1)
    until(lambda: not reader.verifier.busy)
    reader.second.open.set()
    opinion = reader.job(Why.SECOND_OPINION)
    reader.path.write_bytes(b"another")
    reader.verifier.offer(opinion)
    done = reader.wait(2)
    assert (done.report, done.opinion) == (None, None)
    assert "another file" in done.detail
    assert reader.proof.second_opinion is None


def test_an_opinion_of_a_proof_that_is_no_more_is_dropped(reader: Reader) -> None:
    reader.verifier.offer(reader.job(Why.ARRIVAL))
    reader.wait(1)
    until(lambda: not reader.verifier.busy)
    reader.verifier.offer(reader.job(Why.SECOND_OPINION))
    assert reader.second.entered.wait(PATIENCE_SECONDS)
    newer = replace(reader.proof, verified_at=NOW)
    reader.store.prove(newer)
    reader.second.open.set()
    until(lambda: not reader.verifier.busy)
    assert reader.proof == newer


def test_a_stop_cancels_an_opinion_too(reader: Reader) -> None:
    reader.verifier.offer(reader.job(Why.ARRIVAL))
    reader.wait(1)
    until(lambda: not reader.verifier.busy)
    reader.verifier.offer(reader.job(Why.SECOND_OPINION))
    assert reader.second.entered.wait(PATIENCE_SECONDS)
    reader.verifier.stop()
    assert not reader.verifier.alive


def test_reading_again_for_bit_rot_keeps_the_opinion_unless_the_file_rotted(reader: Reader) -> None:
    reader.verifier.offer(reader.job(Why.ARRIVAL))
    reader.wait(1)
    reader.store.prove(replace(reader.proof, second_opinion=AGREED))
    until(lambda: not reader.verifier.busy)
    reader.verifier.offer(reader.job(Why.REVERIFY))
    reader.wait(2)
    assert reader.proof.second_opinion == AGREED
    until(lambda: not reader.verifier.busy)
    reader.first.status = Status.CHECKSUM_MISMATCH
    reader.verifier.offer(reader.job(Why.REVERIFY))
    reader.wait(3)
    assert reader.proof.second_opinion is None
