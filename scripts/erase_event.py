"""Delete everything an event has left, as the Host page does, and say what is left.

    python scripts/erase_event.py --confirm DELETE              # exports are kept
    python scripts/erase_event.py --confirm DELETE --exports    # those as well
    python scripts/erase_event.py                               # only look again

Where the queue is open or jobs run, nothing is deleted (exit 1; 2 where the configuration cannot be read). Exit 0:
nothing is left; exit 3: something is, told line by line, as an executor on a machine that is switched off: it removes
its frames when it starts again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pydantic import ValidationError

from db.artefacts import Store
from db.engine import connect
from db.errors import DbError
from settings import Settings, misread
from studio import host
from studio.context import Studio, Submitter
from studio.left import sentences

WAIT_S = 20.0  # for executors that are there to clear their machines


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Delete everything an event has left, and say what is left.")
    parser.add_argument("--confirm", default="", metavar=host.CONFIRMATION, help="delete; it cannot be undone")
    parser.add_argument("--exports", action="store_true", help="the exported zips as well")
    args = parser.parse_args(argv)
    me = Submitter("host", is_host=True)
    try:
        settings = Settings()
        studio = Studio(settings, connect(settings.database_url), Store(settings.store_url))
        if args.confirm:
            gone = host.forget(studio, me, args.confirm, with_exports=args.exports)
            print(f"{gone.jobs} jobs and {gone.files} files were deleted.")
        until = time.monotonic() + WAIT_S
        found = host.left(studio, me)
        while any(one.live for one in found.executors) and time.monotonic() < until:
            time.sleep(0.5)
            found = host.left(studio, me)
        print("\n".join(map(str, sentences(found, host.exports(studio, me)))) or "Nothing is left.")
    except ValidationError as error:
        print(misread(error), file=sys.stderr)
        return 2
    except DbError as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if found.nothing else 3


if __name__ == "__main__":
    sys.exit(main())
