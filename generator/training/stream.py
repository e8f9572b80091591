"""Serve captioned pictures to trainers: `python -m generator.training.stream DATA --port 8000`.

DATA is a folder, a zip, parquet files, WebDataset shards or a folder of the `datasets` library. Any EIR trainer
(eir-dl) reads it at ws://HOST:PORT/ws, and so does this studio's own. It is looked through first, and what cannot be
read is named and left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from characters.brief import Parser
from generator.learning.stream.eir_server import EirServer, Options
from generator.learning.stream.opening import open_source
from generator.learning.stream.report import inspect
from generator.learning.stream.samples import DataProblem
from generator.learning.stream.sources import Source, Without


def parser() -> Parser:
    """The flags; their defaults are the names and values of EIR's tutorial."""
    made = Parser(prog="python -m generator.training.stream", description=__doc__)
    made.add_argument("data", type=Path, help="folder, .zip, .parquet, .tar, or a pattern such as 'data/*.tar'")
    made.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: every one (default: %(default)s)"
    )
    made.add_argument("--port", type=int, default=8000, help="0: any that is free (default: %(default)s)")
    made.add_argument("--size", type=int, help="px; crop and scale each picture to a square, once (default: as it is)")
    made.add_argument("--input-name", default="image", help="the input that is the picture (default: %(default)s)")
    made.add_argument("--caption-name", default="caption", help="the input that is its caption (default: %(default)s)")
    made.add_argument("--output-name", default="image", help="the output, the picture again (default: %(default)s)")
    made.add_argument(
        "--epochs", type=int, default=1, help="passes until the end is told; 0: no end (default: %(default)s)"
    )
    made.add_argument("--seed", type=int, default=0, help="of the orders (default: %(default)s)")
    made.add_argument(
        "--memory", type=int, default=1024, help="MB of pictures that are kept ready (default: %(default)s)"
    )
    made.add_argument(
        "--no-check", action="store_true", help="begin at once; unreadable pictures are left out as they come"
    )
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
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(EirServer(source, options), host, port))
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
