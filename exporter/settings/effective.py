"""The settings in force, line by line: value, and who said it; for ``config show``.

Knows: how each value is shown, secrets masked. Refuses to know: whether it is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from exporter.model import CheckId, HeartbeatMode, Location
from exporter.settings import units
from exporter.settings.fields import CONFIG_FILE, KEYS, LOCATION_KEYS, Key, Secrecy
from exporter.settings.layers import Written, key_name
from exporter.settings.sources import Layer

DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One line of ``config show``."""

    key: str
    value: str
    source: str


def effective(
    written: Written, layers: Sequence[Layer], places: Sequence[Location], mode: HeartbeatMode
) -> Iterator[Shown]:
    """Every key with its value and where it came from. A default that follows from other keys
    (origin, mode) is shown as what it came to; ``-`` is not given.
    """
    derived: dict[str, object] = {"heartbeat.mode": mode}
    if written.backup.dir is not None:
        derived["backup.origin"] = places[0].origin
    for key in KEYS:
        section, name = key.path
        if key is CONFIG_FILE:
            continue
        value = (
            written.checks.get(CheckId(name))
            if section == "checks"
            else getattr(getattr(written, section), name)
        )
        if value is None and section == "checks":
            continue
        yield Shown(
            key=key.name,
            value=_show(key, derived.get(key.name) if value is None else value),
            source=_source(key.path, layers),
        )
    by_name = {place.name: place for place in places}
    for number, entry in enumerate(written.locations):
        for key in LOCATION_KEYS:
            name = key.path[-1]
            value = getattr(entry, name)
            if name == "origin":
                value = by_name[entry.name or ""].origin
            path = ("locations", number, name)
            yield Shown(key=key_name(path), value=_show(key, value), source=_source(path, layers))


def _source(path: tuple[str | int, ...], layers: Sequence[Layer]) -> str:
    return next((layer.label(path) for layer in layers if layer.has(path)), DEFAULT)


def _show(key: Key, value: Any) -> str:
    if value is None:
        return "-"
    if key.secrecy is not Secrecy.NONE:
        return units.show_url(value) if key.secrecy is Secrecy.URL else units.MASK
    if key.kind == "duration":
        return units.show_duration(value)
    if "always" in key.kind:
        return units.show_size_limit(value)
    if key.kind.startswith("size"):
        return units.show_size(value)
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{check}: {mode}" for check, mode in value.items()) or "-"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return value.value if isinstance(value, StrEnum) else str(value)
