"""Our trainer beside eir-dl 0.25 itself: steps a second, and validation loss after equal time, in one run.

    python scripts/benchmark_eir.py FOLDER [--seconds 120] [--size 32] [--batch 8] [--pictures 256] [--rounds 2]

FOLDER is where scripts/eir_environment.sh has put eirtrain. Both read the same pictures from the same server
(`python -m generator.training.stream`), by turns, and each has so many seconds from its first step on.
Equal: pictures, captions, size, batch, 1000 noise levels of squaredcos_cap_v2, v-prediction, AdamW with its rate,
weight decay, clipping and warm-up, how often validation pictures and samples are looked at, float32, the cores. Not
equal: the architectures (their parameters are printed; EIR's network reads its picture a second time, through an
encoder), which pictures each keeps for validation, and the noise they are asked in; EIR's loss is of its weights, ours
of their moving average. EIR learns pictures scaled to unit variance, we in [-1, 1]: both losses are told as shares of
the loss of an answer of zeros, which is 1 for EIR's.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import check_eir
from scripts.check_uploads import memory

ROOT = Path(__file__).resolve().parent.parent
INTERVAL = 10  # steps between two looks at the validation pictures
STARTING_S = 600.0


def ours(address: str, given: argparse.Namespace) -> dict[str, Any]:
    """A CaptionRun with the preset `eir` in small."""
    from generator.learning.caption_diffusion.run import CaptionRun
    from generator.learning.stream.opening import open_stream
    from generator.params.train import TrainParams

    params = TrainParams(
        preset="eir", data=address, name="bench", seed=1, size=given.size, batch_size=given.batch,
        channels=(8, 16, 32, 32), attention_up_to=given.size // 4, head_width=16, text_width=32, text_layers=1,
        caption_tokens=16, vocabulary=600, learning_rate=1e-3, warmup_steps=4, sample_every=INTERVAL,
        sampler="ddim", sample_steps=5, captions=("a red disc on grey", "a blue square on grey"), precision="fp32",
        compile=False, validation_samples=check_eir.VALIDATION, stop_patience=0, plateau_patience=0,
    )  # fmt: skip
    run = CaptionRun(params, open_stream(address, validation_share=0.1), "cpu", ROOT)
    run.advance(0)  # builds, and makes the first step
    first, began, losses = run.step, time.monotonic(), []
    while (left := given.seconds - (time.monotonic() - began)) > 0:
        if "validation" in (found := run.advance(min(1.0, left)).losses):
            losses.append(found["validation"])
    took = time.monotonic() - began
    count = sum(weight.numel() for weight in run.networks.parameters())
    nothing = _of_zeros(run)
    run.close()
    losses = [loss / nothing for loss in losses]
    peak = peak_mb([os.getpid()])
    return {"steps": run.step - first, "seconds": took, "validation": losses, "parameters": count, "memory": peak}


def peak_mb(pids: list[int]) -> float:
    """The most memory that these processes held, each at its peak, in MB; what they share is counted in each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, StopIteration):  # it has just ended
            total += memory(pid, "VmHWM")
    return total / 1e6


def group_of(leader: int) -> list[int]:
    """The processes of a group: the trainer, the shell around it, its workers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if os.getpgid(int(entry.name)) == leader:
                found.append(int(entry.name))
    return found


def _of_zeros(run: Any) -> float:
    """The loss of a network that answers zeros: the mean square of v over all levels."""
    pictures = run._kept_back.pictures.float() / 127.5 - 1
    alpha, sigma = run._diffusion.alpha, run._diffusion.sigma
    return float((alpha**2 + sigma**2 * pictures.square().mean()).mean())


def history(work: Path, split: str) -> list[dict[str, str]]:
    """What EIR has written so far."""
    path = work / "run" / f"{split}_average_history.log"
    return [*csv.DictReader(path.open())] if path.exists() else []


def theirs(address: str, given: argparse.Namespace) -> dict[str, Any]:
    """EIR's eirtrain, ended when its time is over."""
    work = given.folder / "work" / "bench"
    for left in ("conf", "run"):  # of the round before
        shutil.rmtree(work / left, ignore_errors=True)
    check_eir.configure(work / "conf", address, given)
    path = work / "conf" / "globals.yaml"
    settings = json.loads(path.read_text())
    settings["basic_experiment"] |= {"n_epochs": 100_000, "output_folder": "bench/run"}
    settings["optimization"]["wd"] = 1e-4
    path.write_text(json.dumps(settings))
    output = work / "conf" / "output.yaml"
    output.write_text(output.read_text().replace('"diffusion_time_steps": 50', '"diffusion_time_steps": 1000'))
    names = {"global": ["globals"], "input": ["image", "caption"], "fusion": ["fusion"], "output": ["output"]}
    flags = [[f"--{kind}_configs", *(f"bench/conf/{name}.yaml" for name in found)] for kind, found in names.items()]
    with (work / "eirtrain.log").open("w") as log:
        trainer = subprocess.Popen(
            [given.folder / "eirtrain", *(flag for each in flags for flag in each)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            until = time.monotonic() + STARTING_S
            while not (rows := history(work, "train")):
                if trainer.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"eirtrain has not begun to train; see {work / 'eirtrain.log'}")
                time.sleep(0.1)
            first, began = int(rows[-1]["iteration"]), time.monotonic()
            while time.monotonic() - began < given.seconds and trainer.poll() is None:
                time.sleep(0.1)
            took, last = time.monotonic() - began, int(history(work, "train")[-1]["iteration"])
            peak = peak_mb(group_of(trainer.pid))
        finally:
            # The group is its own: its workers and the shell around it end with it.
            if trainer.poll() is None:
                os.killpg(trainer.pid, signal.SIGTERM)
                try:
                    trainer.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(trainer.pid, signal.SIGKILL)
                    trainer.wait()
    losses = [float(row["loss-average"]) for row in history(work, "validation")]
    found = re.search(r"Total parameters: ([\d,]+)", (work / "eirtrain.log").read_text())
    return {
        "steps": last - first,
        "seconds": took,
        "validation": losses,
        "parameters": int(re.sub(r"\D", "", found[1])) if found else None,
        "memory": peak,
    }


def main() -> None:
    """Prints both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, default in (("size", 32), ("pictures", 256), ("batch", 8), ("workers", 1), ("rounds", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    work = given.folder / "work" / "bench"
    shutil.rmtree(work, ignore_errors=True)
    check_eir.draw(work / "pictures", given.pictures, given.size)
    command = [sys.executable, "-m", "generator.training.stream", str(work / "pictures"), "--port", "0"]
    found: dict[str, list[dict[str, Any]]] = {"eir": [], "ours": []}
    for name, measure in (("eir", theirs), ("ours", ours)) * given.rounds:
        # A server each: the pictures that EIR keeps for validation are kept from nobody else.
        server = subprocess.Popen([*command, "--epochs", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            found[name].append(measure(check_eir.address_of(server), given))
        finally:
            server.terminate()
            server.wait(20)
        figures = found[name][-1]
        loss = f"{figures['validation'][-1]:.4f}" if figures["validation"] else "not measured"
        print(
            f"{name:5} {figures['steps'] / figures['seconds']:.2f} steps/s, validation loss {loss} after "
            f"{given.seconds:g} s, {figures['parameters'] or 'unknown'} parameters, at most {figures['memory']:.0f} MB",
            flush=True,
        )
    speed = {
        name: sum(one["steps"] for one in each) / sum(one["seconds"] for one in each) for name, each in found.items()
    }
    print(f"ours / eir: {speed['ours'] / speed['eir']:.2f} x the steps/s")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
