"""A part of a studio that is played, for tests of the starter: played_part.py FOLDER HOW

HOW: fine; dies; wrong (ends with status 2); hangs (after its first signs, in C, with Python's lock held, once);
stubborn (does not heed SIGTERM); mother (has a child of its own that does not end by itself).
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main(folder: Path, how: str) -> int:
    print(f"{how} begins", flush=True)
    if how in ("dies", "wrong"):
        print("the disk of the moon is missing", file=sys.stderr, flush=True)
        return 2 if how == "wrong" else 1
    if how == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how == "mother":
        child = subprocess.Popen(["sleep", "300"])
        (folder / "child").write_text(str(child.pid))
    for sign in range(1_000_000):
        part = folder / f"{os.getpid()}.part"
        part.write_text(str(sign))
        part.rename(folder / f"{os.getpid()}.sign")
        if how == "hangs" and sign == 5 and not (folder / "hung").exists():
            (folder / "hung").touch()
            ctypes.PyDLL(None).sleep(300)
        time.sleep(0.05)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
