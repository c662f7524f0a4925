"""Which Rust builds the native engine: the first on this machine that will do, or why none does.

Knows: where cargo may lie, and which version the crate asks for. Refuses to know: what is built.
Needs the standard library only: setup.py reads it before anything is installed, and the Makefile
runs it (prints the directory of cargo, or one line about what to install and ends with 1).
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

CRATE = Path(__file__).resolve().parent
#: A cold disk may take its time; a program that never answers is none.
ANSWER_SECONDS = 60.0


class NoRust(Exception):  # noqa: N818 - what it is called where it is caught
    """No Rust here will do; the message is the one line for the user."""


def required(environ: Mapping[str, str] = os.environ) -> bool:
    """REQUIRE_NATIVE=1: without the native engine there is no installation."""
    return environ.get("REQUIRE_NATIVE", "") not in ("", "0")


def wanted() -> tuple[int, int]:
    """The oldest Rust that builds the crate: ``rust-version`` of Cargo.toml, and nowhere else."""
    text = tomllib.loads((CRATE / "Cargo.toml").read_text())["package"]["rust-version"]
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def find(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory with a cargo and rustc that will do. Raises NoRust."""
    troubles = []
    for directory in dict.fromkeys(_places(environ)):
        if not os.access(directory / "cargo", os.X_OK):
            continue
        trouble = _trouble(directory, environ)
        if trouble is None:
            return directory
        troubles.append(trouble)
    major, minor = wanted()
    seen = "; ".join(["cargo", *troubles]) if troubles else "cargo, which is not here"
    unset = ", or unset REQUIRE_NATIVE" if required(environ) else ""
    raise NoRust(
        f"the native engine needs Rust {major}.{minor} or newer ({seen}): "
        f"install it from your distribution or with rustup{unset}"
    )


def _places(environ: Mapping[str, str]) -> Iterator[Path]:
    """PATH first; then where rustup puts it, which not every PATH holds."""
    yield from (Path(entry) for entry in environ.get("PATH", "").split(os.pathsep) if entry)
    if environ.get("CARGO_HOME"):
        yield Path(environ["CARGO_HOME"], "bin")
    if environ.get("HOME"):
        yield Path(environ["HOME"], ".cargo", "bin")
    # A CI may keep the toolchains and give each run a new home. "stable" sorts after "nightly".
    if environ.get("RUSTUP_HOME"):
        toolchains = Path(environ["RUSTUP_HOME"], "toolchains")
        yield from sorted(toolchains.glob("*/bin"), reverse=True)


def _trouble(directory: Path, environ: Mapping[str, str]) -> str | None:
    """Why this directory will not do; its rustc is asked too, since cargo may come without."""
    paths = {**environ, "PATH": f"{directory}{os.pathsep}{environ.get('PATH', '')}"}
    for name in ("cargo", "rustc"):
        try:
            # By name, through that PATH: as cargo itself finds its rustc.
            done = subprocess.run(
                ["/usr/bin/env", name, "--version"],
                env=paths, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                check=False, timeout=ANSWER_SECONDS,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
            return f"{directory / name} does not start"
        said = re.match(rf"{name} (\d+)\.(\d+)\S*", done.stdout)
        if done.returncode != 0 or said is None:
            return f"{directory / name} does not start"
        if (int(said[1]), int(said[2])) < wanted():
            return f"{directory}: {said[0]}"
    return None


def main() -> int:
    try:
        print(find())  # noqa: T201 - for the Makefile
    except NoRust as missing:
        print(missing, file=sys.stderr)  # noqa: T201 - likewise
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
