"""Keeps what a process writes in files of bounded size and number: T2I_LOG_MAX_BYTES, T2I_LOG_FILES.

    python job_executor.py 2>&1 | python scripts/keep_log.py data/logs/executor-1.log

Ends when the process does, and not before: whoever stops the studio stops that one.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pydantic import ValidationError

from logs import RotatingFile, keep_lines
from settings import Settings


def main() -> int:
    """Keep lines until there are no more; the exit status."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        settings = Settings()
    except ValidationError:
        settings = Settings.model_construct()  # the process whose log it is says what is wrong
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    keep_lines(sys.stdin.buffer, RotatingFile(path, settings.log_max_bytes, settings.log_files))
    return 0


if __name__ == "__main__":
    sys.exit(main())
