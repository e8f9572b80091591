"""Train the second family in one call, by a budget of seconds: `python -m generator.training.family --seconds 440`.

VQGAN, flow, what the judge sees in its pictures, and CLIP, all data on the device; what there is of each is written at
every report, so that a call that is cut off leaves what draws. A recipe that runs out of memory goes on with half the
batch, one that fails is noted and passed over. At the deadline the process ends, whatever it is at.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generator.device import pick_device
from generator.models.clip import load_judge
from generator.models.clip import load_mini as load_clip
from generator.models.flow import FlowModels
from generator.training import dataset, flow, pairs, perception, relations, scene_scores, scores, unit_vqgan
from generator.training.parts import write_parts
from generator.training.run import Budget, sheet

SHARES = {"vqgan": 0.36, "flow": 0.72}  # of the time that is left to train when a recipe begins; the rest is the CLIP's
SCORING, LEAST_SCORING = 0.08, 40  # of all, and at least so many s
PROMPTS = 0.6  # of the scoring; the rest is of scenes
LAST_REPORT = 12  # s
OVERHEAD = 0.9  # of a share is stepped in; the rest is reports
SEEDS, PER_SHEET, JUDGING = 2, 60, 8  # s that the judge needs
Recipe = unit_vqgan.Recipe | flow.Recipe | relations.Recipe
SCALES: dict[str, dict[str, Recipe]] = {
    "gpu": {"vqgan": unit_vqgan.GPU, "flow": flow.GPU, "clip": relations.GPU},
    "cpu": {"vqgan": unit_vqgan.Recipe(), "flow": flow.Recipe(), "clip": relations.Recipe()},
    "trial": {  # to see in minutes, on a busy machine, that all of it runs
        "vqgan": unit_vqgan.Recipe(ch_mult=(1, 1, 1, 1), batch=2, looks=32),
        "flow": flow.Recipe(width=64, heads=1, depth=2, bank=64, batch=4, sheet_steps=2),
        "clip": relations.Recipe(width=64, layers=1, batch=8),
    },
}


class Notes:
    """scores.json, written whole whenever something is added."""

    def __init__(self, file: Path) -> None:
        self.file, self.kept = file, dict[str, Any]()

    def add(self, **more: Any) -> None:
        """Beside what is noted already."""
        self.kept |= more
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(self.kept, indent=1) + "\n")
        part.replace(self.file)


def watch(deadline: float, notes: Notes) -> None:
    """Ends the process at the deadline (seconds since the epoch); what is written stays."""

    def wait() -> None:
        time.sleep(max(0.0, deadline - time.time()))
        notes.add(cut_off=True)
        for part in notes.file.parent.glob("*.part"):
            part.unlink(missing_ok=True)
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def guarded(name: str, recipe: Recipe, go: Callable[[Any], Any], notes: Notes) -> Any:
    """What `go(recipe)` gives, with half the batch where memory runs out; None where it fails."""
    while True:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            return go(recipe)
        except torch.OutOfMemoryError:
            if recipe.batch < 2:
                return None
            recipe = replace(recipe, batch=recipe.batch // 2)
            notes.add(**{f"{name}_batch": recipe.batch})
        except Exception:
            traceback.print_exc()
            notes.add(**{f"{name}_failed": traceback.format_exc(limit=-3)})
            return None


def timed(recipe: Recipe, seconds: float) -> Any:
    """The recipe with so much time, and reports some times in it."""
    minutes = OVERHEAD * max(1.0, seconds) / 60
    more: dict[str, Any] = {"report_minutes": max(0.25, minutes / 6)}
    if isinstance(recipe, flow.Recipe):
        more["bank_minutes"] = minutes / 8
        minutes *= 7 / 8
    return replace(recipe, budget=Budget(minutes=minutes), **more)


def train(data: Path, output: Path, work: Path, deadline: float, scale: str, notes: Notes) -> None:
    """All there is time for until the deadline (seconds since the epoch)."""
    device, whole = pick_device(), deadline - time.time()
    recipes = SCALES[scale]
    shown = pairs.load(data, device)
    notes.add(device=str(device), scale=scale, pictures=len(shown.rgba), texts=len(shown.tokens))
    scoring = max(SCORING * whole, LEAST_SCORING)

    def keep(name: str, weights: dict[str, Tensor], told: dict[str, Any]) -> None:
        write_parts(output, name, weights, told)
        notes.add(**{name: told["notes"]})

    def phase(name: str, end: float, go: Callable[[Any], Any]) -> Any:
        return guarded(name, timed(recipes[name], SHARES.get(name, 1.0) * (end - time.time())), go, notes)

    reader, lpips = load_clip(), perception.load(next((data / "packages").glob("lpips-vgg16.*")))
    place: dict[str, Any] = {"folder": work, "keep": keep}
    vqgan = phase("vqgan", deadline - scoring, lambda recipe: unit_vqgan.run(recipe, shown, lpips, **place))
    models = None
    if vqgan is not None:
        models = phase(
            "flow", deadline - scoring, lambda recipe: flow.run(recipe, shown, vqgan, reader, **place, sheets=output)
        )
    if models is not None:
        start = time.time()
        measure = partial(measured, data=data, end=start + PROMPTS * scoring, sheet_file=output / "sheet.png")
        notes.add(scores=guarded("scores", recipes["flow"], lambda _: measure(models), notes))
        look = partial(scenes_seen, end=start + scoring)
        notes.add(scenes=guarded("scenes", recipes["flow"], lambda _: look(models), notes))
    phase("clip", deadline - LAST_REPORT, lambda recipe: relations.run(recipe, shown, reader, **place))


def measured(models: FlowModels, data: Path, end: float, sheet_file: Path) -> dict[str, float]:
    """The prompts of docs/mini.md drawn with two seeds, as many as there is time for, and what the judge sees."""
    pictures = dataset.load(data)
    everything, judge = scores.prompts_of(pictures), load_judge()
    drawn: list[Tensor] = []
    fast, start = models.unet.network.place.is_cuda, time.time()
    size, steps = (100, 20) if fast else (3, 8)
    for first in range(0, len(everything), size):
        some = everything[first : first + size]
        texts, styles = [prompt.text for prompt in some], [prompt.style for prompt in some]
        seeds = range(SEEDS * first, SEEDS * (first + 1))  # its own for every prompt and picture
        drawn.append(torch.stack([flow.sample(models, texts, styles, seed, steps).cpu() for seed in seeds]))
        if time.time() + 2 * (time.time() - start) / len(drawn) + JUDGING > end:
            break
    images = torch.cat(drawn, dim=1)
    prompts = everything[: images.shape[1]]
    rows = [part for part in images[0][:PER_SHEET].split(10) if len(part) == 10] or [images[0][:10]]
    sheet(rows, sheet_file, upscale=1)
    known = scores.on_white(pictures, np.flatnonzero(pictures.train)[:2000])
    known = torch.nn.functional.interpolate(known, (64, 64), mode="area")
    with torch.no_grad():
        texts_seen = judge.encode_text([prompt.text for prompt in prompts])
    ruler = scores.Ruler(judge, prompts, texts_seen, known)
    found = ruler.measure((images * 255).round().byte().numpy())
    return {"prompts": float(len(prompts)), **{name: round(value, 3) for name, value in found.items()}}


def scenes_seen(models: FlowModels, end: float) -> dict[str, float]:
    """Compositions that training never shows, each drawn from its caption in one go, as many as there is time for, and
    what the judge sees of their things: as docs/scenes.md has it of the first family."""
    judge, told, start = scene_scores.SceneJudge(load_judge()), scene_scores.told(), time.time()
    size, steps = (len(told), 20) if models.unet.network.place.is_cuda else (2, 8)
    seen: list[scene_scores.Seen] = []
    for first in range(0, len(told), size):
        some = told[first : first + size]
        styles = [scene_scores.STYLES[number % len(scene_scores.STYLES)] for number in range(first, first + len(some))]
        drawn = flow.sample(models, [caption for caption, _ in some], styles, first, steps).cpu()
        for (_, scene), image in zip(some, drawn, strict=True):
            seen.append(judge.look(scene, image))
            if time.time() + (time.time() - start) / len(seen) > end:
                return {name: round(value, 3) for name, value in scene_scores.figures(seen).items()}
    return {name: round(value, 3) for name, value in scene_scores.figures(seen).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/training"))
    parser.add_argument("--output", type=Path, default=Path("data/training/family"), help="for weights, sheet, scores")
    parser.add_argument("--work", type=Path, help="for the states of the recipes; default: runs in the data folder")
    parser.add_argument("--scale", choices=("auto", *SCALES), default="auto", help="of the networks")
    parser.add_argument("--seconds", type=float, default=440, help="for everything")
    parser.add_argument("--deadline", type=float, help="seconds since the epoch, instead of --seconds")
    given = parser.parse_args()
    deadline = given.deadline or time.time() + given.seconds
    given.output.mkdir(parents=True, exist_ok=True)
    notes = Notes(given.output / "scores.json")
    watch(deadline, notes)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    scale = given.scale if given.scale != "auto" else "gpu" if torch.cuda.is_available() else "cpu"
    train(given.data, given.output, given.work or given.data / "runs", deadline, scale, notes)
    print(json.dumps(notes.kept, indent=1), flush=True)


if __name__ == "__main__":
    main()
