"""Sets the clock of a real executor back and ahead by an hour while it draws, with Debian's `faketime`.

    python scripts/check_clock.py

An executor in a process of its own draws; the clock that it sees is set meanwhile; the job must end at its first
attempt, and that of an executor which is killed then must go to another within two leases. Exit 0: it all did.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

LEASE_S = 20.0
LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
VALUES = {"prompt": "a red heart", "steps": 60, "width": 64, "height": 64, "upscale": 1}


def start(folder: Path) -> subprocess.Popen[bytes]:
    """An executor on the CPU whose clock is that of the file `clock`."""
    environment = {
        **os.environ,
        "T2I_DATABASE_URL": f"sqlite:///{folder}/jobs.db",
        "T2I_STORE_URL": f"file://{folder}/artefacts",
        "T2I_LEASE_S": str(LEASE_S),
        "T2I_STATE_EVERY_S": "1",
        "OMP_NUM_THREADS": "1",
        "LD_PRELOAD": LIBRARY,
        "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    command = [sys.executable, str(ROOT / "job_executor.py"), "--device", "cpu", "--batch", "1"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def main() -> int:
    """The exit status."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if not Path(LIBRARY).exists() or shutil.which("faketime") is None:
        print("faketime is not installed: apt-get install faketime", file=sys.stderr)
        return 2
    from db import queue
    from db.engine import connect
    from generator.params import validate

    with tempfile.TemporaryDirectory() as name:
        folder, running = Path(name), []
        clock = folder / "clock"
        clock.write_text("+0\n")
        db = connect(f"sqlite:///{folder}/jobs.db")
        params = validate("vqgan-clip", VALUES)

        def add() -> str:
            new = queue.NewJob(
                engine="vqgan-clip",
                checkpoint=params.checkpoint,
                batch_key=params.batch_key,
                prompt=params.prompt,
                params=params.model_dump(mode="json"),
                total_steps=params.total_steps,
            )
            return queue.enqueue(db, new, submitter="ada").id

        def until(job_id: str, states: str, step: int = 0) -> queue.Event:
            end = time.monotonic() + 300
            while (job := queue.get(db, job_id)).state not in states.split() or job.step < step:
                if time.monotonic() > end:
                    raise TimeoutError(f"{job.state} at step {job.step}: {(folder / 'log').read_text()[-2000:]}")
                time.sleep(0.1)
            return queue.events(db, job_id)[-1]

        try:
            running.append(start(folder))
            for step in ("-3600", "+3600", "+0"):
                job_id = add()
                until(job_id, "running", step=5)
                clock.write_text(f"{step}\n")
                until(job_id, "succeeded failed")
                job = queue.get(db, job_id)
                took = (job.finished_at or 0) - (job.started_at or 0)
                print(f"set to {step:>5} s: {job.state}, attempt {job.attempt}, took {took:.1f} s", flush=True)
                if (job.state, job.attempt) != ("succeeded", 1) or not 0 < took < 300:
                    return 1
            job_id = add()
            until(job_id, "running", step=5)
            running[0].send_signal(signal.SIGKILL)
            running[0].wait()
            clock.write_text("-3600\n")
            ready = (folder / "log").read_text().count(" ready ")
            running.append(start(folder))
            while (folder / "log").read_text().count(" ready ") == ready:
                time.sleep(0.1)
            begun = time.monotonic()
            while "lease_expired" not in [event.kind for event in queue.events(db, job_id)]:
                if time.monotonic() - begun > 2 * LEASE_S:
                    print("killed, and set back by an hour: no other executor has taken the job")
                    return 1
                time.sleep(0.1)
            back_s = time.monotonic() - begun
            until(job_id, "succeeded failed")
            job = queue.get(db, job_id)
            print(f"killed, and set back by an hour: taken {back_s:.0f} s later, {job.state}, attempt {job.attempt}")
            return 0 if (job.state, job.attempt) == ("succeeded", 1) else 1
        finally:
            for process in running:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
            db.dispose()


if __name__ == "__main__":
    sys.exit(main())
