"""What systemd is told: that the studio is ready, how it is, and that the starter itself is alive (sd_notify(3))."""

from __future__ import annotations

import os
import socket


class Systemd:
    """Silent where no systemd asked for it (NOTIFY_SOCKET)."""

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")  # the parts are not to speak for the starter

    def tell(self, **news: str) -> None:
        """Send e.g. READY=1; systemd that does not listen any more costs the news."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.sendto("\n".join(f"{name}={value}" for name, value in news.items()).encode(), address)
        except OSError:
            return
