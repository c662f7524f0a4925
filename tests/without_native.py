"""The commands in a package whose native engine was not built: ``python -m tests.without_native``."""

from __future__ import annotations

import sys

from exporter.cli import main


class Absent:
    """Finds nothing where the extension would be."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "exporter._native":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if __name__ == "__main__":
    sys.meta_path.insert(0, Absent())  # type: ignore[arg-type]  # all that is asked of one
    main()
