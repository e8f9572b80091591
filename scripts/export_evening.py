"""Write the evening as one zip with a gallery that opens without a server, as the Host page does.

    python scripts/export_evening.py evening.zip
    python scripts/export_evening.py evening.zip --title "Night of science" --hours 6

Reads the database and the store that T2I_DATABASE_URL and T2I_STORE_URL name. For evenings too large to be downloaded
through the browser.
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
from db.evening.archive import Wanted, write_evening
from generator import registry
from settings import Settings, misread
from studio.made_with_ai import note


def main(argv: Sequence[str] | None = None) -> int:
    """Export; the exit status."""
    parser = argparse.ArgumentParser(description="Writes the evening as one zip with a gallery.")
    parser.add_argument("target", type=Path, help="the zip to write")
    parser.add_argument("--title", default="Pictures of the evening", help="what stands above the gallery")
    parser.add_argument("--hours", type=float, help="only pictures of the last so many hours (default: all)")
    args = parser.parse_args(argv)
    try:
        settings = Settings()
    except ValidationError as error:
        print(misread(error), file=sys.stderr)
        return 2
    wanted = Wanted(
        args.title,
        {name: spec.title for name, spec in registry.ENGINES.items()},
        tuple(name for name, spec in registry.ENGINES.items() if spec.makes == "result"),
        None if args.hours is None else time.time() - args.hours * 3600,
        note(settings),
    )
    try:
        done = write_evening(connect(settings.database_url), Store(settings.store_url), args.target, wanted)
    except DbError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{args.target}: {done.pictures} pictures, {done.votes} votes, {done.size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
