"""Second opinions across restarts of the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from exporter.ledger import Ledger
from exporter.model import DuplicatesSearched, Proof, RdbReport, SecondOpinion, Status

NOW = 1_800_000_000.0
PROOF = Proof(
    identity="a",
    report=RdbReport(
        status=Status.VALID, keys=7, depth="full",
        duplicates_searched=DuplicatesSearched(part=2, of=4),
    ),
    verified_at=NOW,
    ctime_ns=5,
    second_opinion=SecondOpinion(engine="rdbtools", agrees=False, detail="5, not 6", seconds=2),
)  # fmt: skip


def kept(path: Path, proof: Proof) -> Proof | None:
    """The proof as the next life of the ledger has it."""
    ledger = Ledger(path, now=NOW)
    ledger.prove(proof)
    ledger.close()
    ledger = Ledger(path, now=NOW)
    found = ledger.proof(proof.identity)
    ledger.close()
    return found


def test_a_proof_is_kept_with_its_second_opinion_and_without_one(tmp_path: Path) -> None:
    bare = replace(PROOF, second_opinion=None)
    assert kept(tmp_path, bare) == bare
    assert kept(tmp_path, PROOF) == PROOF


def test_what_an_older_release_kept_is_read_and_what_it_reads_is_there(tmp_path: Path) -> None:
    """The opinion stands beside the report's own names, which older releases leave unread."""
    assert kept(tmp_path, PROOF) == PROOF
    ledger = Ledger(tmp_path, now=NOW)
    ((text,),) = ledger._database.read("SELECT report FROM proofs")
    assert RdbReport.from_dict(json.loads(text)) == PROOF.report
    old = PROOF.report.to_dict()
    del old["depth"], old["duplicates_searched"]
    ledger._database.write(("UPDATE proofs SET report = ?", (json.dumps(old),)))
    ledger.close()
    ledger = Ledger(tmp_path, now=NOW)
    found = ledger.proof("a")
    ledger.close()
    assert found is not None
    assert (found.report.keys, found.report.depth, found.second_opinion) == (7, "structure", None)
