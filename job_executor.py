"""The executor: claims jobs, advances them together, stores what they make.

    python job_executor.py --device auto --batch 4

Configured by T2I_* (see settings.py). SIGTERM or Ctrl-C: what is in progress is saved and given back, exit 0
within 10 s; a second one ends it at once. Exit 2: it cannot work as configured, or its database was replaced by
another: starting it again is for somebody who has read why.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

import logs
import telemetry
from characters.brief import Parser, in_brief
from db.artefacts import Store
from db.artefacts.free_space import WORK_DIR
from db.engine import connect
from db.errors import DatabaseReplaced, DatabaseTooNew, DatabaseUnavailable, NoDatabaseAddress, StoreUnavailable
from executor import provenance
from executor.context import Context
from executor.loop import Executor
from executor.tracing import JobTraces
from generator import registry
from generator.device import pick_device
from generator.version import NAME, VERSION
from settings import Settings

BUSY_TIMEOUT_S = 5.0
ABANDON_S, EXIT_S = 7.5, 9.5  # after SIGTERM: a loop stuck in a long step is not awaited any longer; the end
SAME_SIGNAL_S = 0.5
MAX_PLACES = 64


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; exits 2 with one line on a bad one."""
    parser = Parser(description="Turns queued jobs into pictures.")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--batch", type=int, default=4, help="jobs in progress at once (default: 4)")
    parser.add_argument("--once", action="store_true", help="end when the queue is empty")
    parser.add_argument("--engines", default=",".join(registry.ENGINES), help="engines to serve (default: all)")
    parser.add_argument("--version", action="version", version=f"{NAME} {VERSION}", help="print the version and end")
    args = parser.parse_args(argv)
    if not 1 <= args.batch <= MAX_PLACES:
        parser.error(f"--batch {args.batch}: 1 to {MAX_PLACES} is permitted.")
    args.engines = [name.strip() for name in args.engines.split(",") if name.strip()]
    try:
        for name in args.engines:
            registry.lookup("engine", registry.ENGINES, name)
    except registry.UnknownName as error:
        parser.error(f"--engines: {error}")
    if not args.engines:
        parser.error(f"--engines: name at least one of {', '.join(registry.ENGINES)}.")
    return args


def connect_with_retry(settings: Settings, log: logging.Logger) -> Context:
    """The database and the store, waited for if they cannot be reached now.

    Raises DatabaseTooNew, NoDatabaseAddress, StoreUnavailable.
    """
    wait = 0.5
    while True:
        try:
            db = connect(settings.database_url, busy_timeout_s=BUSY_TIMEOUT_S)
            worker_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
            return Context(worker_id, db, Store(settings.store_url), settings, WORK_DIR, log)
        except NoDatabaseAddress:
            raise
        except DatabaseUnavailable as error:
            if wait == 0.5:
                log.warning("database_unavailable", extra={"fields": {"error": error}})
            time.sleep(wait)
            wait = min(2 * wait, 10.0)


def heed_signals(executor: Executor) -> None:
    """SIGTERM and SIGINT stop the executor, however long the step is that it is in."""
    # A handler in Python would wait for the call into torch to return; the wakeup pipe is written at once.
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    def later(seconds: float, call: Any, *args: Any) -> None:
        timer = threading.Timer(seconds, call, args)
        timer.daemon = True
        timer.start()

    def abandon() -> None:
        executor.abandon()
        os._exit(0)

    def listen() -> None:
        os.read(read_end, 1)
        executor.context.event("stopping", worker=executor.context.worker_id)
        executor.stop.set()
        later(ABANDON_S, abandon)
        later(EXIT_S, os._exit, 0)
        first = time.monotonic()
        # Ctrl-C in a terminal reaches this process and the script that runs it, which passes it on: that is one.
        while os.read(read_end, 1) and time.monotonic() - first < SAME_SIGNAL_S:
            continue
        os._exit(130)

    threading.Thread(target=listen, name="signals", daemon=True).start()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one executor; the exit status."""
    args = parse(argv)
    try:
        settings = Settings()
        log = logs.to_stderr("executor", as_json=settings.json_log)
        device = pick_device(args.device)
        traces = telemetry.set_up("text-to-image-executor", log)
        context = connect_with_retry(settings, log)
    except ValidationError as error:
        for problem in error.errors():
            name = "T2I_" + "_".join(str(part) for part in problem["loc"]).upper()
            given = "" if "PASSWORD" in name else in_brief(f"={problem['input']!r}")
            print(f"{name}{given}: {problem['msg']}", file=sys.stderr)
        return 2
    except NoDatabaseAddress as error:
        print(f"T2I_DATABASE_URL: {error}", file=sys.stderr)
        return 2
    except (ValueError, RuntimeError, DatabaseTooNew, StoreUnavailable) as error:
        print(error, file=sys.stderr)
        return 2
    context.traces = JobTraces(traces, context.db) if traces else None
    context.provenance = provenance.set_up(settings, log)
    executor = Executor(context, device, args.batch, args.engines, args.once)
    heed_signals(executor)
    try:
        return executor.run()
    except DatabaseReplaced as error:
        context.event("database_replaced", logging.ERROR, error=str(error))
        return 2


if __name__ == "__main__":
    sys.exit(main())
