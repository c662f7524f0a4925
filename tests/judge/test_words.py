"""Numbers as people read them."""

from __future__ import annotations

import pytest

from exporter.judge.words import age_text, number_text, size_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.4, "59s"), (60, "1m"), (90, "1.5m"), (5400, "90m"), (9000, "2.5h"),
     (93600, "26h"), (7 * 86400, "7d"), (3.5 * 86400, "3.5d")],
)  # fmt: skip
def test_ages(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3.0 TiB")],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


def test_numbers() -> None:
    assert number_text(1234567) == "1,234,567"
