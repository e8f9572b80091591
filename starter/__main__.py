"""`python -m starter`: see the package's own words."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from starter.options import parse

if TYPE_CHECKING:
    from settings import Settings
    from starter.parts import Part


def main(argv: Sequence[str] | None = None) -> int:
    """Keep what the command line asks for running; the exit status."""
    args = parse(argv)
    if getattr(args, "check", False):
        return 0
    # Not before: the options are looked at on a machine where nothing is installed yet.
    from starter import left_over

    if args.kind == "health":
        wrong = left_over.health(args.run_dir)
        print("\n".join(wrong) or "All is well.")
        return 1 if wrong else 0
    return keep(args)


def keep(args: argparse.Namespace) -> int:
    """Run the parts until they are told to stop or are given up; the exit status."""
    from pydantic import ValidationError

    from settings import Settings
    from starter import left_over, loop, parts
    from starter.keeper import TERMINAL, Keeper
    from starter.log_files import LogFile, Terminal

    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = "T2I_" + "_".join(str(part) for part in problem["loc"]).upper()
            given = "" if "PASSWORD" in name else f"={problem['input']!r}"
            loop.say(f"{name}{given}: {problem['msg']}")
        return 2
    try:
        note = left_over.Note(args.run_dir)
    except OSError as error:
        loop.say(f"{args.run_dir} cannot be written ({error.strerror}); the starter notes there what runs.")
        return 2
    keepers: list[Keeper] = []
    try:
        for name in left_over.end_left_over(args.run_dir):
            loop.say(f"{name} was left by a starter that was killed; it is ended.")
        if args.kind != "executor" and (obstacle := parts.taken(args.host, args.port)):
            loop.say(obstacle)
            return 1
        for part in _wanted(args, settings):
            file = Path(args.logs) / f"{part.name}.log"
            sink = Terminal() if args.logs == "-" else LogFile(file)
            where = TERMINAL if args.logs == "-" else str(file)
            keepers.append(Keeper(part, sink, loop.say, settings.check_every_s, where))
        if args.kind == "studio":
            print("Starting ...", flush=True)
        return loop.Loop(keepers, note, _welcome(args), must_begin=args.kind == "studio").run()
    finally:
        if not any(keeper.runs for keeper in keepers):  # what would not end is left to the next start
            note.remove()


def _wanted(args: argparse.Namespace, settings: Settings) -> list[Part]:
    from starter import parts

    if args.kind == "executor":
        return [parts.executor(settings, "executor", args.passed_on, {})]
    web = parts.web_app(settings, args.host, args.port)
    if args.kind == "web":
        return [web]
    shared = parts.shared_cores(args.executors)
    executors = [
        parts.executor(settings, f"executor-{n}", ["--device", args.device], shared)
        for n in range(1, args.executors + 1)
    ]
    return [
        replace(web, environment=shared),
        # Of several, one that somebody has ended is missed.
        *(replace(one, may_end=False) for one in executors),
    ]


def _welcome(args: argparse.Namespace) -> Callable[[], None]:
    """What is shown when all is ready: the address and its QR code, by a process of its own, since it loads a lot."""

    def show() -> None:
        subprocess.Popen([sys.executable, "scripts/show_address.py", args.host, str(args.port)])

    return show if args.kind != "executor" and args.logs != "-" else lambda: None


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the loop heeds signals
        sys.exit(130)
