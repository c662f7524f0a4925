"""What a person set: flags over environment (``RBE_*``) over YAML file over defaults.

Knows: every key, where it may stand, what is right; all errors come at once. Refuses to know: what
the program does with it: it hands out ``Policy``, ``RedisTarget`` and a few plain values. Nothing
is read from the process; flags and environment are arguments.

One name everywhere: ``section.key_word`` is flag ``--section.key-word``, environment
``RBE_SECTION_KEY_WORD`` and in the file ``section: {key_word: ...}``. An empty environment value
counts as not given (compose passes empty ones); an empty flag or file value is an error.
"""

from exporter.settings.effective import Shown
from exporter.settings.errors import Problem, SettingsError
from exporter.settings.fields import (
    KEYS,
    LOCATION_KEYS,
    Engine,
    Key,
    LogFormat,
    LogLevel,
    Place,
    Secrecy,
    markdown_table,
)
from exporter.settings.loading import Settings, load, load_listen_address, secret_parts
from exporter.settings.units import MASK, ListenAddress

__all__ = [
    "KEYS",
    "LOCATION_KEYS",
    "MASK",
    "Engine",
    "Key",
    "ListenAddress",
    "LogFormat",
    "LogLevel",
    "Place",
    "Problem",
    "Secrecy",
    "Settings",
    "SettingsError",
    "Shown",
    "load",
    "load_listen_address",
    "markdown_table",
    "secret_parts",
]
