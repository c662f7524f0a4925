"""Where settings come from: flags, environment, YAML file, each as one tree of plain text.

Knows: the names of each source and which of them are ours; what must not stand where. Refuses to
know: what values mean. Every leaf stays the text that a person wrote: YAML's own guesses (``off``
is false, ``1:30`` is 90) are switched off.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from exporter.settings import units
from exporter.settings.errors import Problem, did_you_mean, shown
from exporter.settings.fields import (
    BY_NAME,
    CONFIG_FILE,
    ENV_PREFIX,
    KEYS,
    SECTIONS,
    Key,
    Place,
    Secrecy,
)

Tree = dict[str, Any]

_FILE_LIMIT_BYTES = 1 << 20

#: What Kubernetes puts into every container of a namespace for each Service there: names by the
#: Service's name, values of a fixed form. A Service named ``rbe`` or ``rbe-redis`` gives names that
#: begin like ours. https://kubernetes.io/docs/concepts/services-networking/service/
_ADDRESS = r"None|[0-9a-fA-F:.]+"
_SERVICE_LINKS = tuple(
    (re.compile(rf"RBE(_[A-Z0-9_]+)?_{name}"), re.compile(value))
    for name, value in (
        ("SERVICE_HOST", _ADDRESS),
        ("SERVICE_PORT(_[A-Z0-9_]+)?", r"\d+"),
        ("PORT", r"(tcp|udp|sctp)://.+"),
        (r"PORT_\d+_(TCP|UDP|SCTP)", r"(tcp|udp|sctp)://.+"),
        (r"PORT_\d+_(TCP|UDP|SCTP)_PROTO", r"tcp|udp|sctp"),
        (r"PORT_\d+_(TCP|UDP|SCTP)_PORT", r"\d+"),
        (r"PORT_\d+_(TCP|UDP|SCTP)_ADDR", _ADDRESS),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What one source said."""

    place: Place
    tree: Tree = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    file: str = ""
    """Path of the file; empty for the other places and where there is none."""

    def label(self, path: tuple[str | int, ...]) -> str:
        """How a person finds the value: the flag, the variable, the file."""
        key = BY_NAME.get(".".join(str(part) for part in path))
        if self.place is Place.FILE or key is None:
            return self.file or self.place
        return key.flag if self.place is Place.FLAG else key.env

    def has(self, path: tuple[str | int, ...]) -> bool:
        return self.value(path) is not None

    def value(self, path: tuple[str | int, ...]) -> Any:
        at: Any = self.tree
        for part in path:
            try:
                at = at[part]
            except (KeyError, IndexError, TypeError):
                return None
        return at


def from_flags(flags: Mapping[str, str]) -> Layer:
    """Flags by key name (``redis.url``), as the command line was read."""
    tree: Tree = {}
    problems: list[Problem] = []
    for name, raw in flags.items():
        key = BY_NAME.get(name)
        if key is None:
            problems.append(_unknown_flag(name))
        elif Place.FLAG not in key.places:
            problems.append(
                Problem(
                    key=name,
                    source=key.flag,
                    value=shown(name, raw),
                    problem="is a secret, and every user of the machine can read flags",
                    remedy=key.flag_remedy,
                )
            )
        elif key is not CONFIG_FILE:
            _put(tree, key, raw)
    url = flags.get("redis.url", "")
    if _holds_password(url):
        problems.append(
            Problem(
                key="redis.url",
                source="--redis.url",
                value=shown("redis.url", url),
                problem="holds a password, which every user of the machine can read in /proc",
                remedy="take it out and give --redis.password-file",
            )
        )
    return Layer(place=Place.FLAG, tree=tree, problems=tuple(problems))


def _holds_password(url: str) -> bool:
    try:
        return units.url_password(url) is not None
    except ValueError:
        return False  # no URL at all, which is said where it is read


def _unknown_flag(name: str) -> Problem:
    flag = "--" + name.replace("_", "-")
    return Problem(
        key=name,
        source=flag,
        problem="is no setting",
        remedy=did_you_mean(flag, [key.flag for key in KEYS], "see `run --help`"),
    )


def from_environment(environ: Mapping[str, str]) -> Layer:
    """Names that begin with ``RBE_``. An empty value counts as none: compose passes empty ones."""
    by_env = {key.env: key for key in KEYS if Place.ENV in key.places}
    tree: Tree = {}
    problems: list[Problem] = []
    for name, raw in sorted(environ.items()):
        if not name.upper().startswith(ENV_PREFIX) or _is_service_link(name, raw):
            continue
        key = by_env.get(name)
        if key is None:
            remedy = did_you_mean(
                name.upper(),
                by_env,
                "locations stand in the file of --config.file"
                if name.startswith("RBE_LOCATION")
                else "unset it: every RBE_ name is read as a setting",
            )
            problems.append(Problem(key=name, source=name, problem="is no setting", remedy=remedy))
        elif raw and key is not CONFIG_FILE:
            _put(tree, key, raw)
    return Layer(place=Place.ENV, tree=tree, problems=tuple(problems))


def _is_service_link(name: str, raw: str) -> bool:
    return any(
        name_form.fullmatch(name) and value_form.fullmatch(raw)
        for name_form, value_form in _SERVICE_LINKS
    )


def _put(tree: Tree, key: Key, raw: str) -> None:
    section, name = key.path
    tree.setdefault(section, {})[name] = raw


class _PlainText(yaml.SafeLoader):
    """YAML without guesses and without a key given twice."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as declared by yaml

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = True) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for name, _ in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    problem="a key is no plain name", problem_mark=name.start_mark
                )
            if name.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {name.value!a} stands twice",
                    problem_mark=name.start_mark,
                )
            seen.add(name.value)
        return super().construct_mapping(node, deep=deep)


def from_file(path: str | None) -> Layer:
    """The YAML file, if one is given."""
    if path is None:
        return Layer(place=Place.FILE)
    try:
        with open(path, "rb", opener=_no_wait) as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                return _file_problem(path, "is not a regular file", "name a YAML file")
            raw = stream.read(_FILE_LIMIT_BYTES + 1)
    except OSError as error:
        return _file_problem(
            path, f"can't be read ({error.strerror})", "name a YAML file that is there and readable"
        )
    if len(raw) > _FILE_LIMIT_BYTES:
        return _file_problem(path, "is larger than 1 MiB", "name a file of settings")
    try:
        tree = _PlainText(raw).get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return _file_problem(path, *_yaml_problem(error))
    if tree in (None, ""):
        return Layer(place=Place.FILE, file=path)
    if not isinstance(tree, dict):
        return _file_problem(
            path, "is no mapping", "write sections, like `backup:` with `dir: /data` below it"
        )
    return _judged_file(path, tree, status.st_mode)


def _no_wait(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not hang the start


def _file_problem(path: str, problem: str, remedy: str) -> Layer:
    found = Problem(
        key=CONFIG_FILE.name,
        source=CONFIG_FILE.flag,
        value=ascii(path),
        problem=problem,
        remedy=remedy,
    )
    return Layer(place=Place.FILE, file=path, problems=(found,))


def _yaml_problem(error: Exception) -> tuple[str, str]:
    """Where YAML broke. Its own words are not repeated: they quote the file, so maybe a secret."""
    remedy = "quote values that hold any of : # * & ! % @ ` { } [ ]"
    mark = getattr(error, "problem_mark", None)
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    said = str(getattr(error, "problem", "") or "")
    if said.endswith("stands twice"):
        return f"is wrong{where}: {said}", "keep one of the two"
    return f"is not YAML{where}", remedy


def _judged_file(path: str, tree: Tree, mode: int) -> Layer:
    problems: list[Problem] = []
    kept: Tree = {}
    for name, below in tree.items():
        if name in SECTIONS or name == "checks":
            wanted: type = dict
            remedy = f"write `{name}:` and its keys on indented lines below"
        elif name == "locations":
            wanted = list
            remedy = "write `locations:` and below it one `- name: ...` for each"
        else:
            known = [*SECTIONS, "checks", "locations"]
            whole = str(name)
            problems.append(
                Problem(
                    key=whole,
                    source=path,
                    problem="is no setting",
                    remedy=did_you_mean(
                        whole,
                        [*known, *BY_NAME],
                        "write sections: " + ", ".join(known),
                    ),
                )
            )
            continue
        if isinstance(below, wanted):
            kept[name] = below
        else:
            problems.append(
                Problem(key=name, source=path, problem="is no section", remedy=remedy)
                if below != ""
                else Problem(key=name, source=path, problem="is empty", remedy="leave it out")
            )
    secret_problems, warnings = _secrets_in_file(path, kept, mode)
    return Layer(
        place=Place.FILE,
        tree=kept,
        problems=(*problems, *secret_problems),
        warnings=warnings,
        file=path,
    )


def _secrets_in_file(
    path: str, tree: Tree, mode: int
) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """Secrets are welcome in a file that only its owner, and at most its group, can read."""
    layer = Layer(place=Place.FILE, tree=tree, file=path)
    held = [
        key
        for key in KEYS
        if key.secrecy is not Secrecy.NONE
        and isinstance(raw := layer.value(key.path), str)
        and (key.name != "redis.url" or _holds_password(raw))
    ]
    if not held or not mode & (stat.S_IRGRP | stat.S_IROTH):
        return (), ()
    if not mode & stat.S_IROTH:
        names = ", ".join(key.name for key in held)
        return (), (f"{path!a} holds {names} and can be read by its group: chmod 0600 it",)
    remedies = {
        "redis.url": "take the password out and give redis.password_file",
        "redis.password": "use redis.password_file",
        "heartbeat.url": "use heartbeat.url_file",
    }
    return tuple(
        Problem(
            key=key.name,
            source=path,
            value=shown(key.name, layer.value(key.path)),
            problem="is a secret in a file that every user can read",
            remedy=f"chmod 0600 the file, or {remedies[key.name]}",
        )
        for key in held
    ), ()
