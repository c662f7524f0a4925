"""A sidecar that proves Redis backups and relays a heartbeat only while they are good."""

from __future__ import annotations

__version__ = "0.1.0"
