"""The sources laid over each other: flags over environment over file over defaults.

Knows: precedence, and how to get every error at once out of a validation. Refuses to know: rules
between keys, and what the values are for.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from exporter.model import CheckId
from exporter.settings.errors import Problem, did_you_mean, shown
from exporter.settings.fields import (
    KEYS,
    LOCATION_KEYS,
    BackupKeys,
    CheckKeys,
    CheckWords,
    HeartbeatKeys,
    LocationKeys,
    LogKeys,
    RedisKeys,
    SecondOpinionKeys,
    StateKeys,
    TargetKeys,
    VerifyKeys,
    WebKeys,
)
from exporter.settings.sources import Layer
from exporter.settings.units import WrongValue

Path = tuple[str | int, ...]


class _LayerSource(PydanticBaseSettingsSource):
    """One layer as pydantic-settings wants it."""

    def __init__(self, settings_cls: type[BaseSettings], layer: Layer) -> None:
        super().__init__(settings_cls)
        self.layer = layer

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return self.layer.tree.get(field_name), field_name, True

    def __call__(self) -> dict[str, Any]:
        return copy.deepcopy(self.layer.tree)


class Written(BaseSettings):
    """All settings as written, value by value right, but not yet judged together."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    redis: RedisKeys = Field(default_factory=RedisKeys)
    backup: BackupKeys = Field(default_factory=BackupKeys)
    locations: tuple[LocationKeys, ...] = ()
    checks: CheckWords = Field(default_factory=dict)
    check: CheckKeys = Field(default_factory=CheckKeys)
    web: WebKeys = Field(default_factory=WebKeys)
    heartbeat: HeartbeatKeys = Field(default_factory=HeartbeatKeys)
    verify: VerifyKeys = Field(default_factory=VerifyKeys)
    second_opinion: SecondOpinionKeys = Field(default_factory=SecondOpinionKeys)
    target: TargetKeys = Field(default_factory=TargetKeys)
    state: StateKeys = Field(default_factory=StateKeys)
    log: LogKeys = Field(default_factory=LogKeys)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the layers handed in: nothing is read from the process behind their back."""
        assert isinstance(init_settings, InitSettingsSource)
        layers: Sequence[Layer] = init_settings.init_kwargs["layers"]
        return tuple(_LayerSource(settings_cls, layer) for layer in layers)


def lay(layers: Sequence[Layer]) -> tuple[Written, tuple[Problem, ...]]:
    """The settings that come of ``layers`` (first wins), and what is wrong with single values.

    A wrong value is told, taken out of every layer and validated without it, so that the rules
    between keys can still be tried on the rest.
    """
    problems: list[Problem] = []
    while True:
        try:
            handed: dict[str, Any] = {"layers": layers}
            return Written(**handed), tuple(problems)
        except ValidationError as error:
            paths: list[Path] = []
            for detail in error.errors(include_url=False):
                path = _path(detail)
                paths.append(path)
                problems.append(_problem(detail, path, layers))
            layers = [_without(layer, paths) for layer in layers]


def key_name(path: Path) -> str:
    """``("locations", 1, "max_age")`` as a person writes it: ``locations[1].max_age``."""
    name = ""
    for part in path:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return name


def _path(detail: ErrorDetails) -> Path:
    return tuple(part for part in detail["loc"] if part != "[key]")


def _problem(detail: ErrorDetails, path: Path, layers: Sequence[Layer]) -> Problem:
    holder = next((layer for layer in layers if layer.has(path)), None)
    name = key_name(path)
    source = holder.label(path) if holder else ""
    unknown = detail["type"] == "extra_forbidden" or detail["loc"][-1] == "[key]"
    if unknown:
        return Problem(key=name, source=source, problem="is no setting", remedy=_nearest(path))
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, WrongValue):
        return Problem(
            key=name,
            source=source,
            value=shown(name, holder.value(path) if holder else None),
            problem=cause.problem,
            remedy=cause.remedy,
        )
    return Problem(
        key=name, source=source, problem="has the wrong form", remedy="write its keys below it"
    )


def _nearest(path: Path) -> str:
    *above, last = path
    if "checks" in path:
        return did_you_mean(str(last), CheckId, "write one of " + ", ".join(CheckId))
    section = above[0] if above else ""
    rows = LOCATION_KEYS if section == "locations" else KEYS
    siblings = [row.path[-1] for row in rows if row.path[0].removesuffix("[]") == section]
    return did_you_mean(str(last), siblings, "write one of " + ", ".join(siblings))


def _without(layer: Layer, paths: Sequence[Path]) -> Layer:
    tree = copy.deepcopy(layer.tree)
    # Later list entries first, so that a removed one does not move the others.
    for path in sorted(
        set(paths), key=lambda path: [str(part).zfill(9) for part in path]
    ).__reversed__():
        at: Any = tree
        try:
            for part in path[:-1]:
                at = at[part]
            if isinstance(path[-1], int):
                at[path[-1]] = {}  # its neighbours keep their numbers
            else:
                del at[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue
    return Layer(place=layer.place, tree=tree, file=layer.file)
