"""Serve captioned pictures to trainers: `python -m generator.training.stream DATA --port 8000`.

DATA is a folder, a zip, parquet files, WebDataset shards or a folder of the `datasets` library. Any EIR trainer
(eir-dl) reads it at ws://HOST:PORT/ws, and so does this studio's own. It is looked through first, and what cannot be
read is named and left out.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from characters.brief import Parser
from generator.learning.stream.eir_server import EirServer, Options
from generator.learning.stream.opening import open_source
from generator.learning.stream.report import inspect
from generator.learning.stream.samples import DataProblem
from generator.learning.stream.sources import Source, Without


def parser() -> Parser:
    """The flags; their defaults are the names and values of EIR's tutorial."""
    usual = Options()
    flags: dict[str, tuple[Any, str]] = {
        "host": ("127.0.0.1", "address to listen on; 0.0.0.0 for every one"),
        "port": (8000, "0 for any that is free"),
        "input-name": (usual.image, "the input that is the picture"),
        "caption-name": (usual.caption, "the input that is its caption"),
        "output-name": (usual.output, "the output, which is the picture again"),
        "epochs": (
            usual.epochs,
            "passes over the data until each of a trainer's workers is told the end; 0 for no end",
        ),
        "seed": (usual.seed, "of the orders"),
        "memory": (usual.memory >> 20, "MB of pictures that are kept ready"),
    }
    made = Parser(prog="python -m generator.training.stream", description=__doc__)
    made.add_argument("data", type=Path, help="folder, .zip, .parquet, .tar, or a pattern such as 'data/*.tar'")
    for name, (default, about) in flags.items():
        made.add_argument(f"--{name}", type=type(default), default=default, help=f"{about} (default: {default})")
    made.add_argument("--size", type=int, help="px; crop and scale each picture to a square, once (default: as it is)")
    made.add_argument("--no-check", action="store_true", help="begin at once; what cannot be read is left out as met")
    made.add_argument(
        "--check-only", action="store_true", help="print what is there and what is wrong with it, and end"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until it is interrupted; the exit status, 1 where there is nothing to serve."""
    command = parser()
    given = command.parse_args(argv)
    for name, least, most in (("port", 0, 65535), ("size", 8, 4096), ("epochs", 0, 10**9), ("memory", 0, 10**7)):
        value = getattr(given, name)
        if value is not None and not least <= value <= most:
            command.error(f"--{name} is {value}; it must be {least} to {most}.")
    if given.seed < 0:
        command.error(f"--seed is {given.seed}; it must be at least 0.")
    if given.input_name == given.caption_name:
        command.error(f"--input-name and --caption-name are both {given.input_name!r}; two inputs need two names.")
    options = Options(
        image=given.input_name,
        caption=given.caption_name,
        output=given.output_name,
        size=given.size,
        epochs=given.epochs,
        seed=given.seed,
        memory=given.memory << 20,
    )
    try:
        source = open_source(given.data)
    except DataProblem as error:
        print(error, file=sys.stderr)
        return 1
    try:
        return _checked_and_served(source, options, given.host, given.port, given.no_check, given.check_only)
    finally:
        source.close()


def _checked_and_served(source: Source, options: Options, host: str, port: int, unchecked: bool, only: bool) -> int:
    if not unchecked or only:
        report = inspect(source, min_samples=1, on_progress=_show if sys.stderr.isatty() else None)
        print("\n".join(report.lines()), flush=True)
        if not report.trainable:
            return 1
        source = Without(source, report.unreadable)
    if only:
        return 0
    try:
        asyncio.run(_serve(EirServer(source, options), host, port))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print(f"Nothing can be served at {host}, port {port} ({error.strerror or error}).", file=sys.stderr)
        return 1
    return 0


async def _serve(server: EirServer, host: str, port: int) -> None:
    try:
        async with server.listening(host, port) as listening:
            address = listening.sockets[0].getsockname()
            shown = f"[{address[0]}]" if ":" in address[0] else address[0]
            print(f"{len(server.ids):,} samples at ws://{shown}:{address[1]}/ws; Ctrl-C ends it.", flush=True)
            await listening.serve_forever()
    finally:
        server.close()


def _show(done: int, total: int) -> None:
    print(f"\r{done:,} of {total:,} pictures looked at", end="\n" if done == total else "", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
