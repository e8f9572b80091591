"""Seconds of a training step of a preset, its memory, and whether a run that is resumed makes the same step, as JSON.

python scripts/measure_training.py PRESET --device cuda --json training.json
It learns plain colours from noise; the preset `large` in the latents of Stable Diffusion at random weights. --trial: 16
px and two pictures a step, as a CPU takes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from generator.device import peak_memory
from generator.learning.caption_diffusion.run import CaptionRun
from generator.params.train import TrainParams
from generator.params.train_presets import PRESETS
from scripts.device_turn import turn
from tests.captioned_pictures import Colours
from tests.tiny_diffusers import save_at_full_size, save_stable_diffusion

STEPS, WARM_UP = 6, 2
NEVER = 100_000  # steps until samples are drawn
TRIAL: dict[str, Any] = {"channels": (8, 16), "attention_up_to": 8, "batch_size": 2, "size": 16, "sample_steps": 2}


def begun(preset: str, given: argparse.Namespace, folder: Path) -> CaptionRun:
    """A run of that preset; what it reads of a base is in the folder."""
    settings: dict[str, Any] = {"preset": preset, "data": "dataset:colours", "name": "colours", "seed": 1}
    settings |= {"sample_every": NEVER, "steps": NEVER, "compile": given.compile} | (TRIAL if given.trial else {})
    if PRESETS[preset].get("base"):
        settings |= {"base": "diffusers/random"} | ({"size": 64} if given.trial else {})
        if not (folder / "diffusers" / "random").exists():
            (save_stable_diffusion if given.trial else save_at_full_size)(folder / "diffusers" / "random")
    params = TrainParams(**settings)
    stream: Any = Colours(max(64, 2 * params.batch_size))
    return CaptionRun(params, stream, given.device, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="the file to write")
    parser.add_argument("--compile", action="store_true", help="with torch.compile, as eir and large ask for")
    parser.add_argument("--trial", action="store_true", help="as small as a CPU takes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = begun(given.preset, given, Path(folder))
        assert run.captions  # what is made once
        with turn():
            seconds, losses = [], []
            for _ in range(WARM_UP + STEPS):
                before = time.perf_counter()
                losses.append(run.advance(0).losses["train"])
                if given.device.startswith("cuda"):
                    torch.cuda.synchronize(given.device)
                seconds.append(time.perf_counter() - before)
            found: dict[str, Any] = {
                "pictures": run.params.batch_size,
                "size": run.params.size,
                "compiled": given.compile,
                "first_s": seconds[0],
                "seconds_per_step": statistics.median(seconds[WARM_UP:]),
                "bytes": peak_memory(given.device),
                "loss": losses[-1],
            }
            given.json.write_text(json.dumps(found, indent=1))
            state = run.state_dict()
            expected = run.advance(0).losses["train"]
            again = begun(given.preset, given, Path(folder))
            again.load_state_dict(state)
            found["resumed"] = again.advance(0).losses["train"] == expected
            given.json.write_text(json.dumps(found, indent=1))
        again.close()
        run.close()


if __name__ == "__main__":
    main()
