"""A backup of the studio while it runs, or the way back; see docs/operations.md, "Backups".

    ./scripts/backup.sh /mnt/backups                  a new one; the newest 7 stay
    ./scripts/backup.sh /mnt/backups --keep 30
    ./scripts/restore.sh /mnt/backups                 the newest one, to where T2I_DATABASE_URL and T2I_STORE_URL say
    ./scripts/restore.sh /mnt/backups/20261128T021500Z --replace
    ./scripts/restore.sh /mnt/backups --check         look through it, and change nothing

Exit status: 0; 1 where files of the store were gone or damaged (the rest is in the backup); 2 where nothing was done.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pydantic import ValidationError

from characters.brief import Parser
from db.artefacts import Store
from db.backup import making, restoring
from db.engine import connect
from db.errors import DbError
from generator.version import VERSION
from settings import Settings, misread


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("action", choices=("backup", "restore"), help=argparse.SUPPRESS)
    made.add_argument("folder", type=Path, help="where backups are kept; to restore, also one of them")
    made.add_argument("--from", type=Path, default=Path(), dest="called_from", help=argparse.SUPPRESS)
    made.add_argument("--keep", type=int, default=7, metavar="N", help="backup: the newest ones that stay (default 7)")
    made.add_argument("--check", action="store_true", help="restore: look through the backup, and change nothing")
    made.add_argument("--replace", action="store_true", help="restore: take away what is in the database before")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Back up or restore; the exit status."""
    args = parser().parse_args(argv)
    args.folder = args.called_from / args.folder
    os.umask(0o077)  # visitors' pictures and words
    try:
        settings = Settings()
        store = Store(settings.store_url)
        return _backup(args, settings, store) if args.action == "backup" else _restore(args, settings, store)
    except ValidationError as error:
        print(misread(error), file=sys.stderr)
    except DbError as error:
        print(error, file=sys.stderr)
    return 2


def _backup(args: argparse.Namespace, settings: Settings, store: Store) -> int:
    db = connect(settings.database_url)
    try:
        made = making.back_up(db, store, args.folder, keep=args.keep, version=VERSION)
    finally:
        db.dispose()
    print(f"{made.folder}: {made.copied} files copied, {made.linked} as before, {made.size / 1e6:.1f} MB in all.")
    return _told(made.damaged)


def _restore(args: argparse.Namespace, settings: Settings, store: Store) -> int:
    newest = next(iter(making.backups(args.folder)), args.folder)
    if args.check:
        print(f"{newest}: {len(restoring.check(newest))} files are as they were written.")
        return 0
    done = restoring.restore(newest, settings.database_url, store, replace=args.replace)
    print(f"{newest}: {done.jobs} jobs and {done.files} files ({done.size / 1e6:.1f} MB) are back and verified.")
    if done.moved is not None:
        print(f"The database that was there is now {done.moved}.")
    print("Keys that were revoked since that backup let programs in again: look at the Host page, Keys.")
    return _told(done.damaged)


def _told(damaged: Sequence[str]) -> int:
    for key in damaged:
        print(f"{key}: gone or damaged in the store, so it is not in the backup.", file=sys.stderr)
    return 1 if damaged else 0


if __name__ == "__main__":
    sys.exit(main())
