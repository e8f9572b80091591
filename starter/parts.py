"""What a studio is made of, as processes: the web app and executors."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from settings import Settings
from starter import health
from starter.health import Look

WEB_WAIT_S, EXECUTOR_WAIT_S = 10.0, 60.0  # the longest before one that died is started again
BEATS = 4  # heartbeats that an executor may leave out before it is taken for hung


def no_obstacle() -> str | None:
    """Nothing is ever in the way."""
    return None


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process to keep running. command: what starter.child runs. silent_s: without a sign of life for so long it
    hangs. longest_wait_s: between its death and its next start. obstacle: a sentence on what it cannot start for now.
    needed: the studio is of no use without it. may_end: it may end by itself with status 0. by_hand: the command that
    shows what is wrong with it."""

    name: str
    command: Sequence[str]
    look: Look
    by_hand: str
    silent_s: float
    longest_wait_s: float = EXECUTOR_WAIT_S
    environment: Mapping[str, str] = field(default_factory=dict)
    obstacle: Callable[[], str | None] = no_obstacle
    needed: bool = False
    may_end: bool = False


def web_app(settings: Settings, host: str, port: int) -> Part:
    """The pages and the API on one port."""
    listen = ["--server.port", str(port), "--server.address", host, "--server.headless", "true"]
    return Part(
        name="webapp",
        command=["streamlit", "run", "webapp.py", *listen],
        look=health.web_app(host, port),
        by_hand=f"python -m streamlit run webapp.py --server.port {port}",
        silent_s=settings.hung_after_s,
        longest_wait_s=WEB_WAIT_S,
        obstacle=lambda: taken(host, port),
        needed=True,
    )


def executor(settings: Settings, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Part:
    """One executor. arguments: of job_executor.py."""
    return Part(
        name=name,
        command=["job_executor.py", *arguments],
        look=health.executor(settings.database_url),
        by_hand=" ".join(["python job_executor.py", *arguments]),
        silent_s=max(settings.hung_after_s, BEATS * settings.heartbeat_s, settings.lease_s),
        environment=environment,
        # One that somebody ended, or that was to end with --once, is not wanted any more where it is the only one.
        may_end=True,
    )


def shared_cores(executors: int) -> dict[str, str]:
    """The variables that let executors and web app share the cores of this machine; those that are set stay."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = {"OMP_NUM_THREADS": str(-(-cores // executors)), "OMP_WAIT_POLICY": "PASSIVE"}
    return {name: value for name, value in wanted.items() if name not in os.environ}


def taken(host: str, port: int) -> str | None:
    """A sentence where nothing can listen there now, None where it is free."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        return f"{host!r} is no address of this machine. Choose another with --host, e.g. 127.0.0.1 or 0.0.0.0."
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except PermissionError:
            return f"Port {port} may not be used by this account. Choose one from 1024 on with --port."
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return f"{host} is no address of this machine. Choose another with --host, e.g. 127.0.0.1 or 0.0.0.0."
            return f"Port {port} on {host} is in use. End what listens there, or choose another with --port."
    return None
