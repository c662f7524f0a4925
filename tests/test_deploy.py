"""The files in deploy/: they parse, fit their schemas, and name settings that exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from exporter.settings import KEYS, Place, load

HERE = Path(__file__).parent.parent
DEPLOY = HERE / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yml"))
UNIT = DEPLOY / "systemd" / "redis-backup-exporter.service"


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def pod_of(path: Path) -> dict[str, Any]:
    return next(
        found["spec"]["template"]["spec"]
        for found in documents(path)
        if "template" in found["spec"]
    )


def sidecar_of(path: Path) -> dict[str, Any]:
    return next(
        found for found in pod_of(path)["containers"] if found["name"] == "redis-backup-exporter"
    )


def loads(environ: dict[str, str], tmp_path: Path, flags: dict[str, str] | None = None) -> Any:
    """The settings of these variables, with files of ours in place of the mounted ones."""
    (tmp_path / "heartbeat-url").write_text("https://heartbeat.example/api/v1/heartbeat/1")
    (tmp_path / "redis-password").write_text("word")
    moved = {
        name: re.sub(r"^(/run/secrets/rbe|%d)", str(tmp_path), value)
        for name, value in environ.items()
    }
    return load(flags or {}, moved)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifest_fits_the_schema_of_kubernetes(path: Path) -> None:
    for document in documents(path):
        kubernetes_validate.validate(document, "1.33", strict=True)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifest_gives_settings_that_load(path: Path, tmp_path: Path) -> None:
    environ = {row["name"]: row["value"] for row in sidecar_of(path)["env"]}
    settings = loads(environ, tmp_path)
    assert settings.redis is not None
    assert settings.heartbeat_url is not None


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifest_can_hurt_nobody(path: Path) -> None:
    """Read-only backups and root, no rights, a memory limit, no readiness that takes Redis away."""
    pod, sidecar = pod_of(path), sidecar_of(path)
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 999
    assert sidecar["securityContext"]["readOnlyRootFilesystem"] is True
    assert sidecar["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert sidecar["resources"]["limits"]["memory"]
    assert "readinessProbe" not in sidecar
    assert sidecar["livenessProbe"]["exec"]["command"] == ["redis-backup-exporter", "healthcheck"]
    watched = {row["value"] for row in sidecar["env"] if row["name"] == "RBE_BACKUP_DIR"}
    writable = {row["mountPath"] for row in sidecar["volumeMounts"] if not row.get("readOnly")}
    assert not watched & writable
    assert writable == {"/var/lib/redis-backup-exporter"}


def test_compose_gives_settings_that_load(tmp_path: Path) -> None:
    service = documents(DEPLOY / "compose.yml")[0]["services"]["redis-backup-exporter"]
    environ = {
        name: re.sub(r"\$\{\w+:-\}", "", value) for name, value in service["environment"].items()
    }
    assert environ["RBE_HEARTBEAT_URL"] == ""
    settings = loads(environ, tmp_path)
    assert settings.heartbeat_url is None
    assert service["read_only"] is True
    assert any(mount.startswith("data:") and mount.endswith(":ro") for mount in service["volumes"])


def test_unit_gives_settings_that_load(tmp_path: Path) -> None:
    text = UNIT.read_text()
    environ = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.MULTILINE))
    start = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert start == [
        "/opt/redis-backup-exporter/bin/redis-backup-exporter run "
        "--config.file /etc/redis-backup-exporter/config.yml"
    ]
    config = UNIT.parent / "config.yml"
    settings = loads(environ, tmp_path, {"config.file": str(config)})
    assert [place.name for place in settings.policy.locations] == ["local", "live"]
    assert settings.policy.trigger.name == "local"


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine"
)
def test_unit_is_taken_by_systemd(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(
        re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE)
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_every_flag_and_variable_named_in_deploy_exists() -> None:
    flags = {key.flag for key in KEYS if Place.FLAG in key.places}
    names = {key.env for key in KEYS if Place.ENV in key.places}
    for path in [*DEPLOY.rglob("*.yml"), UNIT, HERE / "Dockerfile"]:
        text = path.read_text()
        used = set(re.findall(r"\bRBE_[A-Z_]+[A-Z]\b", text))
        assert used <= names, path
        dotted = set(re.findall(r"--[a-z]+\.[a-z.-]+\b", text))
        assert dotted <= flags, path


def test_dockerfile_is_clean() -> None:
    """hadolint comes with the locked tools, so it is there wherever tests run."""
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert hadolint
    done = subprocess.run(
        [hadolint, str(HERE / "Dockerfile")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-run.lock", "requirements-dev.lock"]
)
def test_locks_pin_with_hashes_and_name_no_registry(name: str) -> None:
    text = (HERE / name).read_text()
    assert "://" not in text
    assert "--index" not in text
    pins = re.split(r"\n(?=\S)", text.strip())
    assert all("==" in pin and "--hash=sha256:" in pin for pin in pins)


def test_locks_agree() -> None:
    """The image, `make run` and the tests use the same versions."""

    def pins(name: str) -> set[str]:
        return set(re.findall(r"^\S+==\S+", (HERE / name).read_text(), re.MULTILINE))

    assert pins("requirements.lock") < pins("requirements-run.lock") < pins("requirements-dev.lock")


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("requirements.lock", ()),
        ("requirements-run.lock", ("demo",)),
        ("requirements-dev.lock", ("demo", "dev")),
    ],
)
def test_locks_hold_what_the_project_wants(name: str, extras: tuple[str, ...]) -> None:
    """A dependency that was added without `make lock` would be missing in the image."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    pinned = {
        canonicalize_name(found[1]): Version(found[2])
        for found in re.finditer(r"^([\w.-]+)==([^\s;]+)", (HERE / name).read_text(), re.MULTILINE)
    }
    for requirement in map(Requirement, wanted):
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement
