"""Draw with the embedded models at the ends of everything their schema permits, and say what does not work.

    python scripts/check_bounds.py [--engines vqgan-clip,...] [--pairs] [--only learning_rate]

One picture for the least and the greatest of every number, every choice and every switch, of one to three steps; of a
long way the first and the last steps. A row is `drawn`, `refused` with the sentence of the schema, or `WRONG` with what
was wrong: numbers that are not finite, a warning, an error while it was drawn. --pairs: the ends of every two numbers
at once, some thousands of pictures of the tiny engines that the tests draw with. Upscaling and ranking are tried at
their ends as well. Exit status 1 where there is a WRONG.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402

from generator import registry  # noqa: E402
from generator.device import Host  # noqa: E402
from generator.engines import loading  # noqa: E402
from generator.engines.base import generate  # noqa: E402
from generator.params import BadParams, params_class, validate_job  # noqa: E402
from tests import schema_bounds  # noqa: E402
from tests.tiny_engines import read_image  # noqa: E402
from tests.unit.test_bounds import KINDS  # noqa: E402

STEPS = 4  # of a long way
SMALL: dict[str, dict[str, Any]] = {  # what makes a picture of an embedded model quick
    "vqgan-clip": {"steps": 1, "cutn": 2, "candidates": 1, "width": 16, "height": 16},
    "guided-diffusion": {"steps": 3, "cutn": 2, "candidates": 1, "width": 16, "height": 16},
    "latent-diffusion": {"steps": 2, "candidates": 1},
    "biggan-clip": {"steps": 1, "cutn": 2, "candidates": 1},
}
SIZES = [(1, 1), (1, 40), (40, 1), (32, 32), (33, 31), (130, 9)]  # px, of pictures to upscale


def host() -> Host:
    """This machine's CPU, without downloaded checkpoints."""
    return Host("cpu", Path("none"), read_image)


def engine_rows(name: str, pairs: bool, folder: Path) -> Iterator[tuple[str, Any, str, dict[str, Any], dict[str, Any]]]:
    """(engine, what draws, what is tried, its settings, the others)."""
    if not pairs:
        engine = loading.load(name, registry.ENGINES[name].checkpoints[0], (registry.TEXT_ENCODER.name,), host())
        others = {"clip": (registry.TEXT_ENCODER.name,), **SMALL[name]}
        yield from ((name, engine, what, values, others) for what, values in schema_bounds.ends(params_class(name)))
        return
    for kind, (of, build, small) in KINDS.items():
        if of == name:
            engine = build(folder / kind)
            yield from ((kind, engine, what, values, small) for what, values in schema_bounds.pairs(params_class(of)))


def tried(name: str, engine: Any, values: dict[str, Any], others: dict[str, Any]) -> tuple[str, str]:
    """(drawn, refused or WRONG, and why)."""
    base = {"prompt": "a red heart", "seed": 1, **others}
    if "init_image" in values and "init" not in values:
        base.pop("init", None)
    try:
        params = validate_job(name, {**base, **values})
    except BadParams as error:
        return "refused", str(error)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            wrong = schema_bounds.trouble(schema_bounds.first_and_last(engine, params, STEPS), params)
    except Exception as error:  # whatever it is, it is what this looks for
        wrong = f"{type(error).__name__}: {error}"
    return ("drawn", "") if wrong is None else ("WRONG", wrong)


def _given(image: Image.Image, reference: str) -> Image.Image:
    return image


def upscaled_and_ranked() -> Iterator[tuple[str, str, str]]:
    """(what, drawn or WRONG, why) for pictures of the least sizes, the ends of `tile`, and as few and as many to rank
    as there may be."""
    for width, height in SIZES:
        for tile in schema_bounds.range_of(params_class("upscale").model_fields["tile"]):
            values = {"picture": "x", "width": width, "height": height, "tile": int(tile)}
            red = Image.new("RGB", (width, height), "red")
            engine = loading.load("upscale", "mini-upscaler", (), Host("cpu", Path("none"), partial(_given, red)))
            steps = list(generate(engine, validate_job("upscale", values)))
            image = steps[-1].image
            right = image is not None and image.shape == (3, 4 * height, 4 * width) and bool(image.isfinite().all())
            right = right and len(steps) == steps[-1].total == steps[-1].index
            yield f"upscale {width} x {height} px, tile {tile}", "drawn" if right else "WRONG", ""
    for count in (2, 64):
        engine = loading.load("rank", registry.NO_CHECKPOINT, (registry.TEXT_ENCODER.name,), host())
        params = validate_job("rank", {"prompt": "a red heart:100 | fog:-100", "pictures": ["red.png"] * count})
        *_, last = generate(engine, params)
        ranked = last.result["ranking"] if last.result else []
        right = len(ranked) == count and all(-1 <= one["score"] <= 1 for one in ranked)
        yield f"rank {count} pictures", "drawn" if right else "WRONG", ""


def main() -> int:
    """Prints what was refused or wrong, and counts; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default=",".join(SMALL), help="with commas between them (default: all)")
    parser.add_argument("--pairs", action="store_true", help="the ends of every two numbers, on tiny engines")
    parser.add_argument("--only", default="", help="settings whose name has this in it")
    arguments = parser.parse_args()
    found: Counter[str] = Counter()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.engines.split(","):
            for kind, engine, what, values, others in engine_rows(name, arguments.pairs, Path(folder)):
                if arguments.only not in what:
                    continue
                outcome, why = tried(name, engine, values, others)
                found[outcome] += 1
                if outcome != "drawn":
                    print(f"{outcome:8} {kind} {what}: {why}", flush=True)
    if not arguments.pairs and not arguments.only:
        for what, outcome, why in upscaled_and_ranked():
            found[outcome] += 1
            if outcome != "drawn":
                print(f"{outcome:8} {what}: {why}", flush=True)
    counted = ", ".join(f"{count} {outcome}" for outcome, count in sorted(found.items()))
    print(f"{counted}, in {time.perf_counter() - began:.0f} s")
    return 1 if found["WRONG"] else 0


if __name__ == "__main__":
    sys.exit(main())
