"""The rdbtools library, imported without what it drags along.

Knows: that ``rdbtools/__init__`` imports a memory profiler that needs distutils (gone from Python
3.12), takes 0.3 s and warns, while ``rdbtools.parser`` needs none of it. Refuses to know: RDB.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


def _parser_module() -> ModuleType:
    """``rdbtools.parser``, with the package's own ``__init__`` left unrun.

    The bare package is taken out again, so that a later ``import rdbtools`` is the whole one.
    """
    if "rdbtools" in sys.modules or "rdbtools.parser" in sys.modules:
        return importlib.import_module("rdbtools.parser")
    found = importlib.util.find_spec("rdbtools")
    if found is None:
        raise ModuleNotFoundError("No module named 'rdbtools'", name="rdbtools")
    sys.modules["rdbtools"] = importlib.util.module_from_spec(found)
    try:
        return importlib.import_module("rdbtools.parser")
    finally:
        del sys.modules["rdbtools"]


_module = _parser_module()
RdbParser: Any = _module.RdbParser
RdbCallback: Any = _module.RdbCallback
