"""Waits until the web app and the executors are healthy, then prints the address and its QR code.

Used by start.sh:  show_address.py --wait PID... --executors N HOST PORT
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from pathlib import Path

import httpx
import segno

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

START_LIMIT_S = 120.0


def is_free(host: str, port: int) -> bool:
    """Whether the web app could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def web_app_answers(port: int, host: str) -> bool:
    local = "127.0.0.1" if host == "0.0.0.0" else host
    try:
        return httpx.get(f"http://{local}:{port}/_stcore/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def live_executors(since: float) -> int:
    from db import engine
    from db.errors import DatabaseUnavailable
    from db.queue import workers
    from settings import Settings

    try:
        database = engine.connect(Settings().database_url)
        try:
            return sum(worker.beat_at >= since for worker in workers.live(database, within_s=30))
        finally:
            database.dispose()
    except DatabaseUnavailable:
        return 0


def all_alive(pids: list[int]) -> bool:
    try:
        for pid in pids:
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check-free", action="store_true")
    parser.add_argument("--wait", type=int, nargs="+", default=[])
    parser.add_argument("--executors", type=int, default=1)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    args = parser.parse_args()

    if args.check_free:
        if is_free(args.host, args.port):
            return 0
        print(f"Port {args.port} on {args.host} is in use. Choose another with --port.", file=sys.stderr)
        return 1

    started = time.time()
    print("Starting ...", flush=True)
    while not (web_app_answers(args.port, args.host) and live_executors(started - 5) >= args.executors):
        if time.time() - started > START_LIMIT_S or not all_alive(args.wait):
            return 1
        time.sleep(0.3)

    from pages.shared.address import reachable_host
    from settings import Settings

    address = f"http://{reachable_host(args.host)}:{args.port}"
    segno.make(address, error="m").terminal(compact=True)
    print(f"Ready in {time.time() - started:.1f} s. Open {address}   (Ctrl-C stops)", flush=True)
    if Settings().api != "off":
        print(f"For programs: {address}/api/docs", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
