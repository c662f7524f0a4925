"""The build of the native engine as users meet it: with Rust, without, with one that won't do.

Each installation is a real one: a fresh virtual environment, pip, and a copy of the sources. Only
the dependencies are taken from the environment that the tests run in.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent.parent
FIXTURE = HERE / "tests" / "image" / "dump.rdb"
#: What pip needs of the sources; MANIFEST.in and .dockerignore leave out the same.
SOURCES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "exporter")
NOT_SOURCES = shutil.ignore_patterns("__pycache__", "target", "fuzz", "*.so", "*.so~")
WANTED = "the native engine needs Rust 1.89 or newer"
#: pip fetches the build's requirements, and the machine may be busy.
pytestmark = pytest.mark.timeout(600)

#: What lies in the only directory of PATH, and what the line says of it.
CARGOS = {
    "absent": ({}, "cargo, which is not here"),
    "broken": ({"cargo": "exit 1"}, "cargo does not start"),
    "talks nonsense": ({"cargo": "echo hello"}, "cargo does not start"),
    "too old": ({"cargo": "echo 'cargo 1.60.0 (d1fd9fe 2022-03-01)'"}, "cargo 1.60.0"),
    "without a compiler": ({"cargo": "echo 'cargo 1.95.0'", "rustc": "exit 1"}, "rustc does not start"),
    "with an old compiler": ({"cargo": "echo 'cargo 1.95.0'", "rustc": "echo rustc 1.88.9"}, "rustc 1.88.9"),
}  # fmt: skip


def toolchain() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "toolchain", HERE / "exporter" / "native" / "toolchain.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stubs(directory: Path, programs: dict[str, str]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, body in programs.items():
        (directory / name).write_text(f"#!/bin/sh\n{body}\n")
        (directory / name).chmod(0o755)
    return directory


def without_rust(tmp_path: Path, cargo: str = "absent") -> dict[str, str]:
    """The environment of a machine with this cargo in PATH, and no other anywhere."""
    home = Path.home()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CARGO", "RUST", "REQUIRE_NATIVE"))
    }
    # A company's settings for pip may lie in the real home.
    kept.setdefault("XDG_CONFIG_HOME", str(home / ".config"))
    kept.setdefault("XDG_CACHE_HOME", str(home / ".cache"))
    (tmp_path / "home").mkdir(exist_ok=True)
    path = stubs(tmp_path / "path", CARGOS[cargo][0])
    return kept | {"HOME": str(tmp_path / "home"), "PATH": str(path)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the sources: an installation writes into them, and other tests run."""
    copy = tmp_path / "source"
    copy.mkdir()
    for name in SOURCES:
        if (HERE / name).is_dir():
            shutil.copytree(HERE / name, copy / name, ignore=NOT_SOURCES)
        else:
            shutil.copy(HERE / name, copy / name)
    return copy


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The programs of a new environment, which sees the dependencies but not this checkout."""
    venv.create(tmp_path / "venv", symlinks=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    # pip among them. A directory that is named in a .pth has its own .pth not read: no editable
    # installation comes along.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return tmp_path / "venv" / "bin"


def pip(
    programs: Path, command: str, *args: str, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Runs pip; all that it says is in ``stdout``. What is installed elsewhere is left alone."""
    if command == "install":
        args = ("--ignore-installed", *args)
    return subprocess.run(
        [programs / "python", "-m", "pip", "--disable-pip-version-check", command, *args],
        env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip


def verified(programs: Path, env: dict[str, str]) -> tuple[str, str]:
    """The engine that reads the committed dump, and what is said beside it."""
    done = subprocess.run(
        [programs / "redis-backup-exporter", "verify", "--json", FIXTURE],
        env=env, cwd=programs, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["status"] == "valid"
    return report["engine"], done.stderr


# ---- which Rust


@pytest.mark.parametrize("cargo", CARGOS)
def test_a_rust_that_will_not_do_is_told_in_one_line(cargo: str, tmp_path: Path) -> None:
    rust = toolchain()
    environ = without_rust(tmp_path, cargo)
    with pytest.raises(rust.NoRust) as raised:
        rust.find(environ)
    line = str(raised.value)
    assert line.startswith(WANTED)
    assert CARGOS[cargo][1] in line
    assert line.endswith(": install it from your distribution or with rustup")
    assert "\n" not in line
    with pytest.raises(rust.NoRust, match=r"or unset REQUIRE_NATIVE$"):
        rust.find(environ | {"REQUIRE_NATIVE": "1"})


@pytest.mark.parametrize(
    ("place", "variable"),
    [
        ("path-2", "PATH"),
        ("cargo-home/bin", "CARGO_HOME"),
        ("home/.cargo/bin", "HOME"),
        ("rustup-home/toolchains/stable-x/bin", "RUSTUP_HOME"),
    ],
)
def test_a_good_rust_is_found_past_an_old_one(place: str, variable: str, tmp_path: Path) -> None:
    good = stubs(
        tmp_path / place, {"cargo": "echo 'cargo 1.89.0 (c24e10642)'", "rustc": "echo rustc 2.0.1"}
    )
    environ = without_rust(tmp_path, "too old")
    environ |= {
        "CARGO_HOME": str(tmp_path / "cargo-home"), "RUSTUP_HOME": str(tmp_path / "rustup-home"),
    }  # fmt: skip
    if variable == "PATH":
        environ["PATH"] += f"{os.pathsep}{good}"
    assert toolchain().find(environ) == good


def test_a_stable_rust_goes_before_a_nightly_one(tmp_path: Path) -> None:
    programs = {"cargo": "echo cargo 1.99.0", "rustc": "echo rustc 1.99.0"}
    for name in ("nightly-x", "stable-x"):
        stubs(tmp_path / "toolchains" / name / "bin", programs)
    environ = without_rust(tmp_path) | {"RUSTUP_HOME": str(tmp_path)}
    assert toolchain().find(environ).parent.name == "stable-x"


def test_the_version_is_said_as_it_stands_in_the_crate() -> None:
    package = tomllib.loads((HERE / "exporter/native/Cargo.toml").read_text())["package"]
    named = re.findall(r"\bRust (\d+\.\d+)", (HERE / "README.md").read_text() + WANTED)
    assert len(named) > 1
    assert set(named) == {package["rust-version"]}


# ---- without


@pytest.mark.parametrize(
    "cargo",
    ["absent", *(pytest.param(name, marks=pytest.mark.long) for name in ("broken", "too old"))],
)
def test_without_rust_it_installs_and_says_which_engine_it_has(
    cargo: str, source: Path, fresh: Path, tmp_path: Path
) -> None:
    env = without_rust(tmp_path, cargo)
    done = pip(fresh, "install", "--verbose", "--no-deps", str(source), env=env)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "-py3-none-any.whl" in done.stdout
    said = [line for line in done.stdout.splitlines() if WANTED in line]
    assert len(said) == 1
    assert said[0].strip().startswith("warning: ")
    assert CARGOS[cargo][1] in said[0]
    assert said[0].endswith("; the rdbtools engine serves")
    assert "REQUIRE_NATIVE" not in said[0]
    engine, warned = verified(fresh, env)
    assert engine == "rdbtools"
    assert "the native engine is not built" in warned


@pytest.mark.parametrize("cargo", ["absent", "broken", "too old"])
def test_required_it_does_not_install_and_says_what_to_install(
    cargo: str, source: Path, fresh: Path, tmp_path: Path
) -> None:
    env = without_rust(tmp_path, cargo) | {"REQUIRE_NATIVE": "1"}
    done = pip(fresh, "install", "--quiet", "--no-deps", str(source), env=env)
    assert done.returncode == 1
    said = [line.strip() for line in done.stdout.splitlines() if WANTED in line]
    assert len(said) == 1
    assert CARGOS[cargo][1] in said[0]
    assert said[0].endswith("or unset REQUIRE_NATIVE")
    assert "Traceback" not in done.stdout
    assert not (fresh / "redis-backup-exporter").exists()


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """Rust is here, and no registry of crates is."""
    return dict(os.environ) | {"CARGO_HOME": str(tmp_path / "crates"), "CARGO_NET_OFFLINE": "true"}


def test_without_a_registry_of_crates_nothing_old_is_left(
    source: Path, fresh: Path, offline: dict[str, str]
) -> None:
    """An editable installation again: the engine of yesterday's sources would be taken for it."""
    stale = [source / "exporter" / f"_native.{kind}.so" for kind in ("abi3", "cpython-311-x")]
    for path in stale:
        path.write_bytes(b"old")
    done = pip(fresh, "install", "--verbose", "--no-deps", "--editable", str(source), env=offline)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "could not be built, see above; the rdbtools engine serves" in done.stdout
    assert not any(path.exists() for path in stale)
    assert verified(fresh, offline)[0] == "rdbtools"


def test_without_a_registry_of_crates_required_fails_with_the_cause(
    source: Path, fresh: Path, offline: dict[str, str]
) -> None:
    done = pip(
        fresh, "install", "--quiet", "--no-deps", str(source), env=offline | {"REQUIRE_NATIVE": "1"}
    )
    assert done.returncode == 1
    assert "error: no matching package named" in done.stdout
    assert "could not be built, see above; install without it: unset REQUIRE_NATIVE" in done.stdout


# ---- with


@pytest.fixture
def sdist(source: Path, fresh: Path, tmp_path: Path) -> Path:
    """Made without Rust, by whoever releases."""
    requires = tomllib.loads((source / "pyproject.toml").read_text())["build-system"]["requires"]
    env = without_rust(tmp_path)
    done = pip(fresh, "install", "--quiet", *requires, env=env)
    assert done.returncode == 0, done.stdout
    # What must not get in.
    for stray in ("exporter/_native.abi3.so", "exporter/native/target/release/x.so"):
        (source / stray).parent.mkdir(parents=True, exist_ok=True)
        (source / stray).write_bytes(b"stray")
    subprocess.run(
        [fresh / "python", "-c", f"import setuptools.build_meta as b; b.build_sdist({str(tmp_path)!r})"],
        env=env, cwd=source, check=True, capture_output=True,
    )  # fmt: skip
    (made,) = tmp_path.glob("*.tar.gz")
    return made


def test_the_sdist_has_the_crate_and_nothing_built(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    crate = {
        str(path.relative_to(HERE))
        for path in (HERE / "exporter" / "native" / "src").rglob("*.rs")
    } | {f"exporter/native/{name}" for name in ("Cargo.toml", "Cargo.lock", "toolchain.py")}  # fmt: skip
    assert crate | {"setup.py"} <= names
    assert not [name for name in names if name.endswith(".so") or "/target/" in name]


@pytest.fixture
def wheel(sdist: Path, fresh: Path, tmp_path: Path) -> Iterator[Path]:
    env = dict(os.environ) | {"REQUIRE_NATIVE": "1", "CARGO_TARGET_DIR": str(tmp_path / "target")}
    args = ("wheel", "--quiet", "--no-cache-dir", "--no-deps", "--wheel-dir", str(tmp_path))
    done = pip(fresh, *args, str(sdist), env=env)
    assert done.returncode == 0, done.stdout[-4000:]
    (made,) = tmp_path.glob("*.whl")
    yield made
    shutil.rmtree(tmp_path / "target")


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_the_wheel_holds_the_engine_for_every_python_and_passes_the_tests(
    wheel: Path, fresh: Path, tmp_path: Path
) -> None:
    assert re.search(r"-cp311-abi3-\w+\.whl$", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "exporter/_native.abi3.so" in names
    assert "exporter/_native.pyi" in names
    assert not [name for name in names if name.startswith(("exporter/native/", "tests/"))]

    env = {name: value for name, value in os.environ.items() if name != "REQUIRE_NATIVE"}
    assert pip(fresh, "install", "--no-deps", str(wheel), env=env).returncode == 0
    assert verified(fresh, env) == ("native", "")

    # The tests without the sources: whatever they import is the wheel's.
    away = tmp_path / "away"
    away.mkdir()
    shutil.copytree(HERE / "tests", away / "tests", ignore=NOT_SOURCES)
    shutil.copy(HERE / "pyproject.toml", away)
    where = subprocess.run(
        [fresh / "python", "-c", "import exporter._native as it; print(it.__file__)"],
        cwd=away, env=env, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert Path(where.stdout).is_relative_to(fresh.parent)
    done = subprocess.run(
        [
            fresh / "python", "-m", "pytest", "-q", "-m", "not long", "tests/verify",
            "--ignore=tests/verify/test_corpus.py",
        ],
        cwd=away, env=env, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:]
    print(done.stdout[-400:], file=sys.stderr)
