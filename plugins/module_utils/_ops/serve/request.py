# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be served, where, and for how long."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Optional
from urllib.parse import quote

from ..._core.records import dataclass
from ..._guest.source import Source
from .server import Limits

DEFAULT_PORT = 10809
"""The port that is registered for NBD."""


@dataclass(frozen=True)
class Endpoint:
    """A UNIX socket at ``socket``, or a TCP ``port`` of an IP ``address``. With neither, a socket in the run folder."""

    socket: Optional[str] = None
    address: Optional[str] = None
    port: Optional[int] = None

    @property
    def wants_nothing(self) -> bool:
        """Whether any place will do."""
        return self.socket is None and self.address is None

    def uri(self, port: Optional[int] = None) -> str:
        """What clients of NBD take; ``port`` is the one that the host has chosen."""
        if self.socket is not None:
            return f"nbd+unix:///?socket={quote(self.socket, safe='/')}"
        address = f"[{self.address}]" if ":" in (self.address or "") else self.address
        return f"nbd://{address}:{self.port if port is None else port}"


@dataclass(frozen=True)
class ServeRequest:
    """A disk and how to serve it. ``name`` is what the user calls the snapshot, None for none."""

    source: Source
    endpoint: Endpoint
    limits: Limits
    name: Optional[str] = None
