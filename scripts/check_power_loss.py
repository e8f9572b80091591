"""Lets the disk fail at every change a small studio run makes, and the power fail after every one: nothing may be lost.

    python scripts/check_power_loss.py               every change; hours on two cores
    python scripts/check_power_loss.py --every 10    every tenth

The run: three jobs asked for, a picture uploaded, a job cancelled, two drawn by one executor that is stopped on the way
and by another that goes on from their saved states, the evening exported, a checkpoint downloaded. After each fault and
each power cut: no row without its whole file, no job lost or ended twice, the database sound, every error a sentence;
then (after a fault always, after a power cut each eighth time) an executor finishes what is left. Needs Linux and gcc.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.disk import sweep  # noqa: E402

BURST = 5  # changes in a row that fail, where more than one does


def told(title: str, points: Iterable[sweep.Point]) -> bool:
    """Print how many tries there were and which went wrong; whether none did."""
    began, tried, wrong, said = time.monotonic(), 0, 0, 0
    for point in points:
        tried += 1
        said += len(point.said)
        if point.wrong:
            wrong += 1
            print(f"  change {point.number}, {point.how}: {point.wrong[0]}", flush=True)
    print(f"{title}: {tried} tried, {wrong} wrong, {said} sentences; {time.monotonic() - began:.0f} s", flush=True)
    return wrong == 0


def main() -> int:
    """Try it; exit 1 where anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--every", type=int, default=1, help="only every so many changes (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of what a power cut leaves, and where --every begins")
    args = parser.parse_args()
    if args.every < 1:
        parser.error(f"--every {args.every}: 1 or more is permitted.")
    first = random.Random(args.seed).randint(1, args.every)
    with tempfile.TemporaryDirectory() as folder, sweep.runs(Path(folder)) as runs:
        changes = sweep.changes_of(runs)
        numbers = range(first, changes + 1, args.every)
        print(f"A run makes {changes} changes: writes, syncs, renames, files opened, made and removed.", flush=True)
        fine = told("EIO, once", sweep.failing(runs, numbers, "EIO"))
        fine &= told("ENOSPC, once", sweep.failing(runs, numbers, "ENOSPC"))
        fine &= told(f"EIO, {BURST} times in a row", sweep.failing(runs, numbers, "EIO", BURST))
        root, journal = sweep.record(runs)
        after = set(range(first, len(journal) + 1, args.every))
        fine &= told("Power cuts", sweep.power_cuts(runs, root, journal, after, args.seed))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
