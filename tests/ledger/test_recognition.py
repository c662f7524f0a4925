"""Which file is which, across renames, replacements and restarts of the ledger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.ledger import Ledger, LedgerBusyError
from exporter.model import (
    Backup,
    ChecksumState,
    Known,
    Listing,
    Proof,
    RdbReport,
    Status,
    Verdict,
    VerdictState,
)

NOW = 1_800_000_000.0


def file(name: str, inode: int = 1, *, mtime: float = NOW - 500, **facts: Any) -> Backup:
    values: dict[str, Any] = {
        "location": "local",
        "name": name,
        "path": f"/b/{name}",
        "size_bytes": 100,
        "mtime_ns": int(mtime * 1e9),
        "ctime_ns": int(mtime * 1e9),
        "inode": inode,
        "device": 1,
        "settled": True,
        "head": b"REDIS0011" + str(inode).encode(),
        "tail": b"12345678",
    }
    return Backup(**{**values, **facts})


def unsettled(name: str, inode: int = 1, **facts: Any) -> Backup:
    return file(name, inode, settled=False, head=b"", tail=b"", **facts)


class Book:
    """A ledger and the looks that it is told of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = Ledger(path, now=NOW)

    def look(self, *files: Backup, now: float = NOW) -> dict[str, Known]:
        known = self.ledger.recognise(Listing(location="local", at=now, backups=files), now)
        return {k.backup.name + ("" if k.exists else " (replaced)"): k for k in known}

    def prove(self, known: Known, status: Status = Status.VALID) -> None:
        report = RdbReport(status=status, ctime=5, keys=7, checksum=ChecksumState.OK, crc64=1)
        assert known.identity is not None
        self.ledger.prove(
            Proof(
                identity=known.identity,
                report=report,
                verified_at=NOW,
                ctime_ns=known.backup.ctime_ns,
            )
        )

    def restart(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.path, now=NOW)


@pytest.fixture
def book(tmp_path: Path) -> Any:
    opened = Book(tmp_path / "state")
    yield opened
    opened.ledger.close()


def test_what_lay_there_before_the_watch_arrived_when_it_was_written(book: Book) -> None:
    assert book.look(file("a.rdb"))["a.rdb"].arrived_at == NOW - 500


def test_what_appears_while_watching_arrives_now_whatever_its_mtime_says(book: Book) -> None:
    book.look()
    assert book.look(file("a.rdb"), now=NOW + 15)["a.rdb"].arrived_at == NOW + 15


def test_a_file_of_the_future_arrives_when_it_is_seen(book: Book) -> None:
    assert book.look(file("a.rdb", mtime=NOW + 10**6))["a.rdb"].arrived_at == NOW


def test_an_unsettled_file_has_no_identity_and_keeps_its_arrival(book: Book) -> None:
    book.look()
    first = book.look(unsettled("a.rdb"), now=NOW + 15)["a.rdb"]
    assert (first.identity, first.arrived_at) == (None, NOW + 15)
    settled = book.look(file("a.rdb"), now=NOW + 30)["a.rdb"]
    assert settled.identity
    assert settled.arrived_at == NOW + 15


def test_a_rename_keeps_identity_arrival_and_proof(book: Book) -> None:
    book.look()
    book.prove(book.look(file("a.rdb"), now=NOW + 15)["a.rdb"])
    moved = file("b.rdb", ctime_ns=int((NOW + 20) * 1e9))
    after = book.look(moved, now=NOW + 30)["b.rdb"]
    assert after.arrived_at == NOW + 15
    assert after.proof is not None
    assert after.proof.ctime_ns != moved.ctime_ns, "a rename must not hide a change"
    book.restart()
    again = book.look(moved, now=NOW + 40)["b.rdb"]
    assert (again.identity, again.arrived_at) == (after.identity, NOW + 15)
    assert again.proof == after.proof


def test_a_rename_seen_only_after_a_while_is_still_a_rename(book: Book) -> None:
    book.prove(book.look(file("a.rdb"))["a.rdb"])
    book.look(now=NOW + 15)
    book.look(unsettled("b.rdb"), now=NOW + 30)
    assert book.look(file("b.rdb"), now=NOW + 45)["b.rdb"].proof is not None


def test_a_copy_is_an_arrival_of_its_own(book: Book) -> None:
    book.prove(book.look(file("a.rdb"))["a.rdb"])
    known = book.look(file("a.rdb"), file("b.rdb", 2, head=b"REDIS00111"), now=NOW + 15)
    assert known["b.rdb"].proof is None
    assert known["b.rdb"].arrived_at == NOW + 15


def test_new_content_under_the_old_name_is_a_new_backup(book: Book) -> None:
    before = book.look(file("a.rdb"))["a.rdb"]
    after = book.look(file("a.rdb", mtime=NOW + 1), now=NOW + 15)["a.rdb"]
    assert after.identity != before.identity
    assert after.arrived_at == NOW + 15


def test_other_bytes_with_the_same_size_and_time_are_another_backup(book: Book) -> None:
    before = book.look(file("a.rdb"))["a.rdb"]
    book.prove(before)
    after = book.look(file("a.rdb", tail=b"87654321"))["a.rdb"]
    assert after.identity != before.identity
    assert after.proof is None


def test_a_replaced_file_stands_for_its_name_until_its_successor_is_judged(book: Book) -> None:
    book.prove(book.look(file("dump.rdb", 1))["dump.rdb"])
    for later in (unsettled("dump.rdb", 2, mtime=NOW), file("dump.rdb", 2, mtime=NOW)):
        known = book.look(later, now=NOW + 15)
        assert known["dump.rdb (replaced)"].proof is not None
        assert known["dump.rdb"].proof is None
    book.prove(known["dump.rdb"])
    assert set(book.look(file("dump.rdb", 2, mtime=NOW))) == {"dump.rdb"}


def test_a_restart_does_not_bring_back_what_was_replaced_or_deleted(book: Book) -> None:
    book.prove(book.look(file("dump.rdb", 1))["dump.rdb"])
    book.look()
    book.look(unsettled("dump.rdb", 2, mtime=NOW), now=NOW + 15)
    book.restart()
    assert set(book.look(file("dump.rdb", 2, mtime=NOW), now=NOW + 30)) == {"dump.rdb"}


def test_a_successor_that_grows_is_no_rename_and_leaves_no_proof_behind(book: Book) -> None:
    """rm and a slow cp: for a moment like a rename, then a partial file and nothing else."""
    book.prove(book.look(file("a.rdb", 1))["a.rdb"])
    assert set(book.look(unsettled("a.rdb", 2, mtime=NOW, size_bytes=0))) == {"a.rdb"}
    book.prove(book.look(file("a.rdb", 3, mtime=NOW + 1))["a.rdb"])
    assert "a.rdb (replaced)" in book.look(unsettled("a.rdb", 4, mtime=NOW + 2, size_bytes=9))
    assert set(book.look(unsettled("a.rdb", 4, mtime=NOW + 3, size_bytes=19))) == {"a.rdb"}


def test_a_clock_that_ran_ahead_does_not_pin_a_backup_as_the_newest(book: Book) -> None:
    book.look()
    ahead = book.look(file("n2.rdb", 2), now=NOW + 2400)["n2.rdb"]
    assert ahead.arrived_at == NOW + 2400
    book.look(file("n2.rdb", 2), now=NOW + 10)
    known = book.look(file("n2.rdb", 2), file("n3.rdb", 3), now=NOW + 20)
    assert known["n2.rdb"].arrived_at < known["n3.rdb"].arrived_at
    book.restart()
    known = book.look(file("n2.rdb", 2), file("n3.rdb", 3), now=NOW + 30)
    assert known["n2.rdb"].arrived_at < known["n3.rdb"].arrived_at


@pytest.mark.parametrize("names", [("n1.rdb", "n1.rdb.gz"), ("n1.rdb.gz", "n1.rdb")])
def test_a_backup_that_is_packed_later_stays_the_backup_that_it_was(
    book: Book, names: tuple[str, str]
) -> None:
    """delaycompress and its like: an old backup in a new form must not look like a new one."""
    before, after = names
    book.look()
    first = book.look(file(before, 1), now=NOW + 10)[before]
    book.prove(first)
    broken = book.look(file(before, 1), file("n2.rdb", 2, mtime=NOW), now=NOW + 20)["n2.rdb"]
    book.prove(broken, Status.TRUNCATED)
    packed = file(after, 3, mtime=NOW, size_bytes=50)
    known = book.look(file("n2.rdb", 2, mtime=NOW), packed, now=NOW + 30)
    assert known[after].arrived_at == NOW + 30
    book.prove(known[after])
    for _ in range(2):
        heir = book.look(file("n2.rdb", 2, mtime=NOW), packed, now=NOW + 40)[after]
        assert (heir.arrived_at, heir.same_as) == (NOW + 10, first.identity)
        book.restart()


def test_a_volume_that_was_copied_elsewhere_holds_the_same_backups(book: Book) -> None:
    book.look()
    before = book.look(file("a.rdb", 1), now=NOW + 10)["a.rdb"]
    book.prove(before)
    moved = file("a.rdb", 77, head=file("a.rdb", 1).head, ctime_ns=int((NOW + 50) * 1e9))
    book.look(replace(moved, settled=False, head=b"", tail=b""), now=NOW + 60)
    after = book.look(moved, now=NOW + 70)["a.rdb"]
    assert (after.same_as, after.arrived_at) == (before.identity, NOW + 10)
    assert after.proof is None, "other bytes are not proven"


def test_a_state_directory_that_is_deleted_under_us_is_said(book: Book) -> None:
    (book.path / "lock").unlink()
    (book.path / "ledger.sqlite").unlink()
    book.prove(book.look(file("a.rdb"))["a.rdb"])
    assert [n.id for n in book.ledger.notices] == ["state_not_kept"]
    assert book.look(file("a.rdb"))["a.rdb"].proof is not None


def test_a_file_that_is_overwritten_in_place_leaves_nothing_behind(book: Book) -> None:
    book.prove(book.look(file("a.rdb", 1))["a.rdb"])
    assert set(book.look(unsettled("a.rdb", 1, mtime=NOW), now=NOW + 15)) == {"a.rdb"}


def test_a_file_proven_after_it_was_replaced_stands_for_its_name(book: Book) -> None:
    read = book.look(file("dump.rdb", 1))["dump.rdb"]
    book.look(file("dump.rdb", 2, mtime=NOW), now=NOW + 15)
    book.prove(read)
    known = book.look(file("dump.rdb", 3, mtime=NOW + 20), now=NOW + 30)
    assert known["dump.rdb (replaced)"].identity == read.identity


def test_a_name_that_went_away_has_no_predecessor(book: Book) -> None:
    book.prove(book.look(file("dump.rdb", 1))["dump.rdb"])
    book.look(file("dump.rdb", 2, mtime=NOW))
    assert book.look() == {}
    assert set(book.look(file("dump.rdb", 3, mtime=NOW + 1))) == {"dump.rdb"}


def test_arrivals_remember_what_is_gone_in_order(book: Book) -> None:
    for number in (1, 2, 3):
        name = f"{number}.rdb"
        found = book.look(file(name, number, mtime=NOW + number), now=NOW + number)[name]
        book.prove(found, Status.VALID if number != 2 else Status.TIMEOUT)
    book.look(now=NOW + 10)
    book.restart()
    assert [a.name for a in book.ledger.arrivals("local")] == ["1.rdb", "3.rdb"]


def test_names_that_are_no_text_survive(book: Book) -> None:
    name = "bad-\udcff.rdb"
    book.prove(book.look(file(name))[name])
    book.restart()
    assert book.look(file(name))[name].proof is not None


def test_an_unreadable_file_keeps_its_place_until_it_can_be_read(book: Book) -> None:
    book.prove(book.look(file("a.rdb"))["a.rdb"])
    locked = book.look(unsettled("a.rdb"))["a.rdb"]
    assert locked.identity is not None


def test_a_second_process_is_refused(book: Book) -> None:
    with pytest.raises(LedgerBusyError, match=r"state\.dir"):
        Ledger(book.path, now=NOW)


def test_a_damaged_ledger_is_set_aside_and_said(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"this is no database" * 100)
    ledger = Ledger(tmp_path, now=NOW)
    assert [n.id for n in ledger.notices] == ["state_set_aside"]
    assert (tmp_path / f"ledger.sqlite.broken-{NOW:.0f}").read_bytes().startswith(b"this is no")
    ledger.close()


def test_rows_that_make_no_sense_are_set_aside_too(book: Book) -> None:
    book.prove(book.look(file("a.rdb"))["a.rdb"])
    book.ledger._database.write(("UPDATE proofs SET report = 'nonsense'", ()))
    book.restart()
    assert [n.id for n in book.ledger.notices] == ["state_set_aside"]
    assert book.look(file("a.rdb"))["a.rdb"].proof is None


@pytest.mark.parametrize("how", ["file", "network"])
def test_where_state_cannot_be_kept_memory_serves_and_says_so(tmp_path: Path, how: str) -> None:
    blocked = tmp_path / "f"
    blocked.write_text("a file where a directory should be")
    ledger = Ledger(blocked if how == "file" else tmp_path, now=NOW, network=how == "network")
    assert [n.id for n in ledger.notices] == ["state_not_kept"]
    outbox = ledger.outbox("default")
    outbox.owe("k", NOW, NOW)
    assert outbox.owed() is not None
    ledger.close()


def test_the_outbox_holds_one_row_and_remembers_what_was_delivered(book: Book) -> None:
    outbox = book.ledger.outbox("default")
    outbox.owe("one", NOW, NOW)
    outbox.owe("two", NOW, NOW - 5)
    outbox.failed("two", "timeout", NOW + 9)
    book.restart()
    outbox = book.ledger.outbox("default")
    owed = outbox.owed()
    assert owed is not None
    assert (owed.key, owed.attempts, owed.failure, owed.next_attempt_at) == (
        "two", 1, "timeout", NOW + 9,
    )  # fmt: skip
    outbox.delivered(owed, NOW + 10)
    book.restart()
    outbox = book.ledger.outbox("default")
    assert outbox.owed() is None
    assert outbox.was_delivered("two")
    assert not outbox.was_delivered("one")
    assert outbox.last_success_at() == NOW + 10
    assert outbox.last_arrived_at() == NOW - 5


def test_delivery_of_a_row_that_was_replaced_leaves_the_new_one(book: Book) -> None:
    outbox = book.ledger.outbox("default")
    outbox.owe("one", NOW, NOW)
    first = outbox.owed()
    outbox.owe("two", NOW, NOW)
    assert first is not None
    outbox.delivered(first, NOW)
    owed = outbox.owed()
    assert owed is not None
    assert owed.key == "two"


def test_an_update_reads_again_what_an_older_release_called_broken(book: Book) -> None:
    known = book.look(file("good.rdb", 1), file("bad.rdb", 2))
    book.prove(known["good.rdb"])
    book.prove(known["bad.rdb"], Status.CORRUPT)
    book.restart()
    assert book.look(file("good.rdb", 1), file("bad.rdb", 2))["bad.rdb"].proof is not None
    book.ledger._database.write(("UPDATE writer SET version = '0.0.1'", ()))
    book.restart()
    known = book.look(file("good.rdb", 1), file("bad.rdb", 2))
    assert known["bad.rdb"].proof is None
    assert known["good.rdb"].proof is not None


def test_verdict_changes_are_kept(book: Book) -> None:
    book.ledger.record(Verdict(state=VerdictState.AT_RISK, since=NOW), NOW)
    rows = book.ledger._database.read("SELECT at, state FROM verdicts")
    assert rows == [(NOW, "at_risk")]


def test_a_disk_that_fills_up_moves_state_to_memory_and_loses_nothing(book: Book) -> None:
    book.prove(book.look(file("a.rdb"))["a.rdb"])
    outbox = book.ledger.outbox("default")
    outbox.owe("k", NOW, NOW)
    owed = outbox.owed()
    assert owed is not None
    book.ledger._database._db.execute("PRAGMA max_page_count = 1")
    for number in range(300):
        long = replace(owed, key=f"key-{number}-{'x' * 500}")
        outbox.delivered(long, NOW + number)
    assert [n.id for n in book.ledger.notices] == ["state_not_kept"]
    assert outbox.was_delivered(f"key-299-{'x' * 500}")
    owed = outbox.owed()
    assert owed is not None
    assert book.look(file("a.rdb"))["a.rdb"].proof is not None
    assert replace(owed, key="k") == owed
