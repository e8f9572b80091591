"""python -m api: the API alone, where no browser is wanted; and the keys of programs.

python -m api --host 127.0.0.1 --port 8501
python -m api key make NAME --scope submit
python -m api key list
python -m api key revoke ID
python -m api hash-password
"""

from __future__ import annotations

import argparse
import getpass
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import uvicorn
from pydantic import ValidationError

import logs
import telemetry
from api.headers import Headers
from api.proxies import TrustedProxies
from api.server import PREFIXES, build
from characters.brief import Parser
from db import engine
from db.errors import BadValue, DbError
from db.rules import keys
from db.rules.keys import SCOPES, Key
from generator.version import NAME, VERSION
from settings import Settings, misread
from studio.host_password import hash_password

END_S = 10


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = Parser(prog="python -m api", description="The studio for programs, without the pages.")
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    made.add_argument("--port", type=int, default=8501, help="port (default 8501)")
    made.add_argument("--version", action="version", version=f"{NAME} {VERSION}", help="print the version and end")
    commands = made.add_subparsers(dest="command", metavar="")
    commands.add_parser("hash-password", help="the hash of a password, for T2I_HOST_PASSWORD")
    key = commands.add_parser("key", help="make, list and revoke the keys of programs")
    actions = key.add_subparsers(dest="action", required=True, metavar="make|list|revoke")
    make = actions.add_parser("make", help="a new key, printed this once")
    make.add_argument("name", help="what it is for, at most 40 characters; shown with its pictures")
    make.add_argument("--scope", choices=SCOPES, default="submit", help="each may do what those before it may")
    make.add_argument("--max-queued", type=int, metavar="N", help="jobs it may have waiting (default: as everybody)")
    make.add_argument("--max-per-hour", type=int, metavar="N", help="jobs it may ask for in an hour")
    actions.add_parser("list", help="all keys, without what would let anybody in")
    revoke = actions.add_parser("revoke", help="let nobody in with it any more")
    revoke.add_argument("id", help="as `list` shows it")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop, or do what the command says; the exit status."""
    args = parser().parse_args(argv)
    if args.command == "hash-password":
        return _hash_password()
    try:
        settings = Settings()
        if args.command == "key":
            return _key(args, settings)
    except ValidationError as error:
        print(misread(error), file=sys.stderr)
        return 2
    except DbError as error:
        print(error, file=sys.stderr)
        return 2
    if settings.api == "off":
        print("The API is switched off: T2I_API=off. Set it to local, open or keys.", file=sys.stderr)
        return 2
    log = logs.to_stderr("api", as_json=settings.json_log)
    logs.to_stderr("uvicorn", as_json=settings.json_log, level=logging.WARNING)
    app = build(settings, traces=telemetry.set_up("text-to-image-api", log))
    uvicorn.run(
        TrustedProxies(Headers(app, settings.embedders, PREFIXES), settings.trusted_proxies),
        host=args.host,
        port=args.port,
        proxy_headers=False,  # ours are told apart by T2I_TRUSTED_PROXIES
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=END_S,  # who reads an answer too slowly is not waited for longer
    )
    return 0


def _hash_password() -> int:
    """Asked for twice at a terminal, so that it is in no list of commands; else the first line that comes in."""
    if sys.stdin.isatty():
        typed = getpass.getpass("Password of the Host page: ")
        if getpass.getpass("Once more: ") != typed:
            print("These are two different ones; nothing was made.", file=sys.stderr)
            return 2
    else:
        typed = sys.stdin.readline().rstrip("\r\n")
    try:
        print(hash_password(typed))
    except BadValue as error:
        print(error, file=sys.stderr)
        return 2
    print("Set T2I_HOST_PASSWORD to it, in single quotes: it has $ in it.", file=sys.stderr)
    return 0


def _key(args: argparse.Namespace, settings: Settings) -> int:
    db = engine.connect(settings.database_url)
    try:
        if args.action == "make":
            secret, key = keys.make(
                db, args.name, args.scope, max_queued=args.max_queued, max_per_hour=args.max_per_hour
            )
            print(secret)
            print(f"{_line(key)}. Keep it now: it is nowhere else.", file=sys.stderr)
        elif args.action == "revoke":
            print(_line(keys.revoke(db, args.id)))
        else:
            for key in keys.every(db):
                print(_line(key))
    finally:
        db.dispose()
    return 0


def _line(key: Key) -> str:
    limits = [f"{n} {what}" for n, what in ((key.max_queued, "waiting"), (key.max_per_hour, "an hour")) if n]
    state = "" if key.revoked_at is None else f", revoked {_day(key.revoked_at)}"
    return f"{key.id}  {key.scope:<6}  {_day(key.created_at)}  {key.name}{''.join(f', {one}' for one in limits)}{state}"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


if __name__ == "__main__":
    sys.exit(main())
