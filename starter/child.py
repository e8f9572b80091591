"""Runs one part of the studio: in a process that ends with its starter, and that says on SIGUSR1 where it stands.

    python -m starter.child STARTER job_executor.py --device cpu
    python -m starter.child STARTER streamlit run webapp.py

STARTER is the starter's process id. A name that ends with .py is a file, any other a module.
"""

from __future__ import annotations

import faulthandler
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with(starter: int) -> None:
    """This process gets SIGTERM when its starter dies, however that dies; at once where it is dead already.

    On Linux; elsewhere the next start ends what was left (starter.left_over). Must be called in the child: the signal
    comes when the thread dies that made it, and that is the starter's first.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != starter:
        sys.exit(f"The starter {starter} is gone; nothing is started.")


def main() -> None:
    """Become the part that the command line names."""
    starter, name, *arguments = sys.argv[1:]
    end_with(int(starter))
    # In C: it writes the stacks of all threads also where one of them never lets Python go on.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    sys.argv = [name, *arguments]
    if name.endswith(".py"):
        runpy.run_path(name, run_name="__main__")
    else:
        runpy.run_module(name, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
