"""The README says what the code says: its tables are made of it, its snippets are files' parts."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path

import pytest

from exporter.judge import catalogue
from exporter.judge.remedies import REMEDIES
from exporter.model import FINDINGS, CheckId, Reason
from exporter.publish import metrics
from exporter.settings import markdown_table as settings_table

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"

TABLES = {
    "settings": settings_table,
    "metrics": metrics.markdown_table,
    "checks": catalogue.markdown_table,
    "reasons": catalogue.reasons_table,
    "findings": lambda: "\n".join(
        ["| finding | what it is |", "|---|---|"]
        + [f"| `{kind}` | {meaning} |" for kind, meaning in FINDINGS.items()]
    ),
}

_TABLE = re.compile(r"<!-- table:(\w+) -->\n(.*?)<!-- /table -->", re.DOTALL)
_SNIPPET = re.compile(r"<!-- from: (\S+) -->\n```\w*\n(.*?)```", re.DOTALL)


def _regenerated(text: str) -> str:
    return _TABLE.sub(
        lambda found: (
            f"<!-- table:{found[1]} -->\n\n{TABLES[found[1]]().strip()}\n\n<!-- /table -->"
        ),
        text,
    )


def test_the_tables_are_those_of_the_code() -> None:
    """Regenerate with ``RBE_WRITE_README=1 pytest tests/test_readme.py``."""
    text = README.read_text("utf-8")
    assert sorted(name for name, _ in _TABLE.findall(text)) == sorted(TABLES)
    wanted = _regenerated(text)
    if os.environ.get("RBE_WRITE_README"):
        README.write_text(wanted, "utf-8")
    assert README.read_text("utf-8") == wanted


def test_every_check_and_every_reason_has_its_place() -> None:
    """Checks in the table; each reason that asks for something in a heading of the runbook."""
    text = README.read_text("utf-8")
    headings = "\n".join(line for line in text.splitlines() if line.startswith("### "))
    assert {str(check) for check in CheckId if f"| `{check}` |" not in text} == set()
    assert {str(reason) for reason in REMEDIES if f"`{reason}`" not in headings} == set()
    runbook = text[text.index("## Runbook") : text.index("### What to do, by reason")]
    named = set(
        re.findall(r"`([a-z_]+)`", "\n".join(re.findall(r"^### .*", runbook, re.MULTILINE)))
    )
    assert named - {str(reason) for reason in Reason} == {"state_not_kept"}


def test_the_acl_line_is_the_one_that_is_tested() -> None:
    from tests.e2e.test_server_states import MINIMAL  # noqa: PLC0415

    assert f"ACL SETUSER backupwatch reset on >PASSWORD {MINIMAL}\n" in README.read_text("utf-8")


def _snippets() -> list[tuple[str, str]]:
    return _SNIPPET.findall(README.read_text("utf-8"))


@pytest.mark.parametrize(("path", "snippet"), _snippets())
def test_snippets_are_parts_of_their_files(path: str, snippet: str) -> None:
    """Verbatim but for the indentation of the whole."""
    lines = (ROOT / path).read_text("utf-8").splitlines()
    wanted = snippet.rstrip("\n").splitlines()
    parts = (
        textwrap.dedent("\n".join(lines[at : at + len(wanted)])).splitlines()
        for at in range(len(lines))
    )
    assert wanted in list(parts), f"not in {path}:\n{snippet}"


def test_links_within_the_repository_lead_somewhere() -> None:
    for target in re.findall(r"\]\(((?!https?:|#)[^)]+)\)", README.read_text("utf-8")):
        assert (ROOT / target.partition("#")[0]).exists(), target
