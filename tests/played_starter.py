"""The real starter with parts that are played and little patience: played_starter.py FOLDER HOW...

A part of each HOW is kept, see tests/played_part.py; the first one is the one that the studio cannot do without.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from starter import health, keeper, left_over, loop
from starter.health import NoSign, Sign
from starter.log_files import LogFile
from starter.parts import Part

keeper.STACKS_S, keeper.TERM_S, loop.TERM_S, left_over.TERM_S, loop.TICK_S = 0.3, 1.0, 1.0, 1.0, 0.05
health.STARTING_EVERY_S = 0.05


def part(folder: Path, number: int, how: str) -> Part:
    def look(pid: int, since: float) -> Sign:
        try:
            return Sign((folder / f"{pid}.sign").read_text())
        except OSError:
            raise NoSign("it has written nothing") from None

    return Part(
        name=f"{how}-{number}",
        command=["tests/played_part.py", str(folder), how],
        look=look,
        by_hand="python tests/played_part.py",
        silent_s=0.5,
        longest_wait_s=0.05,
        needed=number == 1,
    )


def main(folder: Path, hows: list[str]) -> int:
    note = left_over.Note(folder / "run")
    for name in left_over.end_left_over(folder / "run"):
        loop.say(f"{name} was left")
    keepers = []
    for number, how in enumerate(hows, 1):
        one = part(folder, number, how)
        log = folder / f"{one.name}.log"
        keepers.append(keeper.Keeper(one, LogFile(log), loop.say, 0.1, str(log)))
    try:
        return loop.Loop(keepers, note, lambda: loop.say("all are ready")).run()
    finally:
        note.remove()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
