"""Numbers as people read them. Refuses to know what they measure."""

from __future__ import annotations

_SPANS = ((86400, "d"), (3600, "h"), (60, "m"))
_SIZES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def age_text(seconds: float) -> str:
    """``93600`` -> ``26h``, ``9000`` -> ``2.5h``; two units would say more than the clock knows."""
    for span, unit in _SPANS:
        if seconds >= 2 * span or (unit == "m" and seconds >= span):
            return f"{seconds / span:.1f}".removesuffix(".0") + unit
    return f"{seconds:.0f}s"


def size_text(size_bytes: int) -> str:
    """``1536`` -> ``1.5 KiB``."""
    for span, unit in _SIZES:
        if size_bytes >= span:
            return f"{size_bytes / span:.1f} {unit}"
    return f"{size_bytes} B"


def number_text(number: int) -> str:
    """``1234567`` -> ``1,234,567``."""
    return f"{number:,}"
