"""What is wrong with the settings: all of it at once, secrets masked.

Knows: key, source, shown value, problem, remedy. Refuses to know: how it was found.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.settings.fields import BY_NAME, Secrecy
from exporter.settings.units import MASK, show_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong."""

    key: str
    problem: str
    remedy: str
    source: str = ""
    """The flag, environment name or file that said it; empty where nothing did."""
    value: str | None = None
    """As it may be shown: masked where it can be a secret; None where there is none to show."""

    def __str__(self) -> str:
        source = f" ({self.source})" if self.source and self.source != self.key else ""
        value = "" if self.value is None else f" {self.value}"
        return f"{self.key}{source}:{value} {self.problem}: {self.remedy}"


class SettingsError(Exception):
    """Settings that can't be used; ``problems`` has every reason."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def shown(key: str, raw: object) -> str | None:
    """A value as a message may repeat it."""
    row = BY_NAME.get(key)
    secrecy = row.secrecy if row else Secrecy.NONE
    if secrecy is Secrecy.WHOLE:
        return MASK
    if not isinstance(raw, str):
        return None
    if secrecy is Secrecy.URL:
        return show_url(raw)
    return ascii(raw if len(raw) <= 80 else raw[:77] + "...")


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else otherwise
