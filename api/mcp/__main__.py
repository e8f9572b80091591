"""python -m api.mcp: the studio's tools over stdio, for an agent on the studio's own machine.

It opens the studio's database itself, as pages and API do, and asks as one submitter per user of the machine: nothing
but an executor has to run. An agent elsewhere uses /mcp of the studio's address.
"""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import signal
import sys
from collections.abc import Sequence
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.stdio import stdio_server
from pydantic import ValidationError

from api.callers import Caller
from api.mcp.calls import Call
from api.mcp.server import build
from api.opened import Api
from characters.brief import Parser
from generator.version import NAME, VERSION
from settings import Settings, misread
from studio.context import Submitter


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stdin ends; the exit status."""
    parser = Parser(prog="python -m api.mcp", description="The studio's tools for an agent, over stdio.")
    parser.add_argument("--address", default="", help="where the studio's pages are, for the addresses of its files")
    parser.add_argument("--version", action="version", version=f"{NAME} {VERSION}", help="print the version and end")
    args = parser.parse_args(argv)
    try:
        settings = Settings()
    except ValidationError as error:
        print(misread(error), file=sys.stderr)
        return 2
    if settings.api == "off":
        print("The API is switched off: T2I_API=off. Set it to local, open or keys.", file=sys.stderr)
        return 2
    # It ends at once, as a filter does: nothing must be closed before, and nothing else wakes who reads stdin.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(serve(settings, (args.address or settings.public_url or "").rstrip("/")))
    return 0


async def serve(settings: Settings, address: str) -> None:
    """Over this process's stdin and stdout. address: of the studio's files, "" where it is not known."""
    api = Api(settings)
    person = hashlib.sha256(getpass.getuser().encode()).hexdigest()[:24]
    who = Caller(Submitter(f"mcp:{person}", admitted=True), "submit")

    def call_of(ctx: ServerRequestContext[Any, Any]) -> Call:
        return Call(api, who, ctx.session.report_progress, address)

    server = build(call_of)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    sys.exit(main())
