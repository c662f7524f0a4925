"""Text from outside, such as a file's name, made safe for a terminal.

Knows: what moves a cursor or turns text around. Refuses to know: what is printed, and where.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """``text`` with all such characters written out."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)
