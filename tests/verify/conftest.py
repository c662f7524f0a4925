"""Where the big corpus of real servers' files is, if it is here."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

CORPUS = Path(os.environ.get("BACKUP_CORPUS") or Path(__file__).parents[3] / "shared" / "corpus")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Unpacks one archive of the corpus, once: ``corpus("rdb")`` is its folder."""
    unpacked: dict[str, Path] = {}

    def unpack(name: str) -> Path:
        archive = CORPUS / f"{name}.tar.xz"
        if not archive.exists():
            pytest.skip(
                f"the corpus is not here: no {archive.name} in BACKUP_CORPUS or ../shared/corpus"
            )
        if name not in unpacked:
            folder = tmp_path_factory.mktemp(f"corpus-{name}")
            with tarfile.open(archive) as packed:
                packed.extractall(folder, filter="data")
            unpacked[name] = folder / name
        return unpacked[name]

    return unpack


@pytest.fixture(scope="session")
def large() -> Path:
    """The folder of files that unpack to far more than they are."""
    if not (CORPUS / "large").is_dir():
        pytest.skip("the corpus is not here: no large/ in BACKUP_CORPUS or ../shared/corpus")
    return CORPUS / "large"
