"""The command line of the starter. Read before anything is installed, so only of what Python brings along."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

MAX_EXECUTORS = 64
LOGS, RUN = Path("data/logs"), Path("data/run")


def _from(least: int, most: int) -> object:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}.")
        return int(text)

    return number


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; exits 2 with one line on a bad one. executor: what is not its own goes to job_executor.py."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="python -m starter", description="Keeps the studio's processes running.")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--logs", default=None, metavar="FOLDER", help="where the logs go (- for this terminal; default: see below)"
    )
    shared.add_argument("--run-dir", type=Path, default=RUN, help=f"what runs is noted here (default: {RUN})")
    at = argparse.ArgumentParser(add_help=False)
    at.add_argument("--port", type=_from(1, 65535), default=8501, help="port of the web app (default: 8501)")  # type: ignore[arg-type]
    at.add_argument(
        "--host",
        default="0.0.0.0",
        help="address to listen on (default: 0.0.0.0, phones on the same network can join; 127.0.0.1 keeps it to this "
        "machine)",
    )
    ends = f"Logs of a studio go to {LOGS}, those of a single part to this terminal. Ctrl-C or TERM stops in order."
    studio = kinds.add_parser(
        "studio", parents=[shared, at], allow_abbrev=False, help="the web app and executors", epilog=ends
    )
    studio.add_argument(
        "--executors",
        type=_from(1, MAX_EXECUTORS),  # type: ignore[arg-type]
        default=1,
        help="executors to start (default: 1)",
    )
    studio.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    studio.add_argument("--check", action="store_true", help="look at these options and do nothing else")
    kinds.add_parser("web", parents=[shared, at], allow_abbrev=False, help="the web app alone", epilog=ends)
    kinds.add_parser(
        "executor",
        parents=[shared],
        allow_abbrev=False,
        help="one executor; all other options go to job_executor.py",
        epilog=f"{ends} All other options go to job_executor.py, see its --help.",
    )
    kinds.add_parser("health", parents=[shared], help="exit 0 where all that is kept here is well")
    args, rest = parser.parse_known_args(given)
    if rest and args.kind != "executor":
        parser.error(f"unknown option {rest[0]!r}")
    args.passed_on = rest
    if args.logs is None:
        args.logs = str(LOGS) if args.kind == "studio" else "-"
    return args
