"""Which names in a directory are candidates: they match the pattern and are not temporary.

Knows: how writers of backups name what is not finished yet. Refuses to know: the files.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable

from exporter.model import PACKED

# BGSAVE and full sync write temp-*, rsync and editors dot files, downloaders and copy tools these.
_TEMPORARY = re.compile(
    r"""temp-.*                                 # Redis: temp-PID.rdb, temp-rewriteaof-PID.aof
    | \..*                                      # rsync: .name.RANDOM; hidden in general
    | .*(?:\.tmp|\.part|\.partial|\.filepart    # wget, curl, restic, WinSCP
        |~|_?\.gstmp                            # editors; gsutil: name_.gstmp
        |\.crdownload|\.swp)
    """,
    re.VERBOSE | re.DOTALL,
)


def is_temporary(name: str) -> bool:
    """Whether a writer would use such a name before its file is whole."""
    return _TEMPORARY.fullmatch(name) is not None


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name matches, case-sensitively, with the wildcards of fnmatch.

    ``*.rdb`` takes ``*.rdb.gz`` and the other compressed forms too: a job that starts to compress
    its dumps goes on being watched.
    """
    match = re.compile(fnmatch.translate(pattern)).match
    if pattern.endswith(".rdb") and not names_one_file(pattern):
        return lambda name: match(_unpacked(name)) is not None
    return lambda name: match(name) is not None


def names_one_file(pattern: str) -> bool:
    """A pattern without wildcards: it means this very file, whatever the name looks like."""
    return not any(char in pattern for char in "*?[")


def _unpacked(name: str) -> str:
    """``a.rdb.gz`` -> ``a.rdb``; one form, not one in another."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot and ending in PACKED else name
