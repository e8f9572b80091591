"""A training job outlives random kills of its executor, at little cost, and none of its numbers is another for it.

    python scripts/check_run_kills.py [--kills 20] [--steps 12000] [--seed 1]

In a studio of its own (SQLite, a store of files, real executor processes) the same run of engine `train` is done twice:
undisturbed, and with its executor killed by SIGKILL at random moments. Compared are every validation loss, the weights
of the model and the sheets of samples; counted are the steps that were made again. Exit status 1 where anything
differs, or where more than 5 % of the steps were made again. A kill costs a second or two whatever the run, so the
share is that of runs of ten minutes or more, as this one.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import re
import signal
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from db import artefacts, queue
from db.jobs import ENDED, Job
from generator.params import validate_job
from tests import executor_studio
from tests.captioned_pictures import write_folder
from tests.executor_studio import Studio

SHARE = 0.05  # of the steps that may be made again
MODEL: dict[str, Any] = {
    "data": "dataset:colours", "captions": ("a red square", "a blue square"), "seed": 3, "size": 16,
    "channels": (8, 16), "attention_up_to": 8, "text_width": 32, "text_layers": 1, "caption_tokens": 8,
    "vocabulary": 600, "batch_size": 4, "sample_steps": 2, "precision": "fp32",
}  # fmt: skip


def enqueue(studio: Studio, name: str, steps: int) -> Job:
    """The run, as the page puts it into the queue."""
    given = MODEL | {"name": name, "steps": steps, "sample_every": max(1, steps // 10)}
    params = validate_job("train", given)
    new = queue.NewJob(
        engine="train",
        checkpoint="none",
        batch_key=params.batch_key,
        prompt=params.title,
        params=params.model_dump(mode="json"),
        total_steps=steps,
        priority=-1,
        max_attempts=1000,
        budgeted=False,
    )
    return queue.enqueue(studio.db, new, submitter="check")


def disturbed(studio: Studio, job: Job, kills: int, seed: int) -> list[int]:
    """Kills its executor so often, spread over its steps but at random moments; the step it had told at each kill."""
    dice = random.Random(seed)
    killed_at: list[int] = []
    executor = studio.executor()
    while len(killed_at) < kills and studio.job(job.id).state not in ENDED:
        # One kill in each of as many equal stretches; which step of the stretch, and when in that step, is chance.
        at = int((len(killed_at) + dice.random()) / (kills + 1) * job.total_steps)
        while (now := studio.job(job.id)).step < at and now.state not in ENDED:
            time.sleep(0.02)
        time.sleep(dice.random())
        executor.send_signal(signal.SIGKILL)
        executor.wait()
        if (killed := studio.job(job.id)).state in ENDED:
            break
        killed_at.append(killed.step)
        executor = studio.executor()
    studio.ended(job)
    executor.send_signal(signal.SIGTERM)
    executor.wait()
    return killed_at


def made_again(studio: Studio, killed_at: list[int]) -> int:
    """Steps between where the run was and where it was taken up again, summed over the kills."""
    opened = [int(found) for found in re.findall(r" opened .*?\bstep=(\d+)", studio.log.read_text())]
    return sum(max(0, was - taken_up) for was, taken_up in zip(killed_at, opened[1:], strict=False))


def results(studio: Studio, job: Job) -> dict[str, object]:
    """What may not differ: validation losses by step, the weights, and the sheets of samples."""
    import numpy as np
    from safetensors.numpy import load

    files = artefacts.of_job(studio.db, job.id)
    rows = csv.DictReader(io.StringIO(studio.store.get(files["history"].key).decode()))
    with zipfile.ZipFile(io.BytesIO(studio.store.get(files["samples"].key))) as sheets:
        samples = {name: sheets.read(name) for name in sheets.namelist()}
    weights = load(studio.store.get(files["model"].key))
    return {
        "validation losses": {int(row["step"]): row["validation"] for row in rows if row["validation"]},
        "weights": {name: np.ascontiguousarray(value).tobytes() for name, value in weights.items()},
        "samples": samples,
    }


def undisturbed(studio: Studio, job: Job) -> float:
    """Does the run as it is; the seconds between its first step and its end."""
    executor = studio.executor()
    studio.reached(job, 1)
    began = time.monotonic()
    studio.ended(job)
    took = time.monotonic() - began
    executor.send_signal(signal.SIGTERM)
    executor.wait()
    return took


def main() -> int:
    """Exit status 0 where no number changed and few steps were made again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 20), ("steps", 12_000), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--state-every", type=float, default=0.5, help="seconds between two saved states")
    given = parser.parse_args()
    executor_studio.TIMEOUT_S = 24 * 3600.0
    with tempfile.TemporaryDirectory() as work:
        found, took = {}, 0.0
        for name in ("disturbed", "undisturbed"):
            folder = Path(work, name)
            studio = Studio(folder, state_every_s=given.state_every, heartbeat_s=0.2)
            try:
                data = io.BytesIO()
                with zipfile.ZipFile(data, "w") as target:
                    for path in sorted(write_folder(folder / "pictures").iterdir()):
                        target.write(path, path.name)
                studio.store.put("datasets/colours.zip", data.getvalue())
                job = enqueue(studio, "colours", given.steps)
                if name == "disturbed":
                    killed_at = disturbed(studio, job, given.kills, given.seed)
                    again = made_again(studio, killed_at)
                else:
                    took = undisturbed(studio, job)
                if (ended := studio.job(job.id)).state != "succeeded":
                    print(f"The {name} run ended as {ended.state}: {ended.error}")
                    return 1
                found[name] = results(studio, job)
            finally:
                studio.close()
    return judge(found, killed_at, again, took, given)


def judge(
    found: dict[str, dict[str, object]], killed_at: list[int], again: int, took: float, given: argparse.Namespace
) -> int:
    """Prints the figures."""
    other = [what for what, value in found["undisturbed"].items() if value != found["disturbed"][what]]
    share, rate = again / given.steps, given.steps / took
    print(f"{len(killed_at)} kills at steps {killed_at} of {given.steps}; undisturbed {rate:.1f} steps/s")
    print(f"{again} steps made again: {share:.1%} of the run, {again / rate / max(1, len(killed_at)):.2f} s a kill")
    print(f"Different: {', '.join(other)}." if other else "Validation losses, weights and samples are the same bytes.")
    return 0 if not other and share <= SHARE and len(killed_at) == given.kills else 1


if __name__ == "__main__":
    sys.exit(main())
