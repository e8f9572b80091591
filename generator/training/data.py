"""Fetch open emoji sets and render them to one RGBA array: `python -m generator.training.data --output data/training`.

Makes `pictures.npy` (N, R, R, 4) uint8 and `index.json`, which `generator.training.dataset` reads.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from generator.training.captions import common
from generator.training.emoji_sets import LABELS, SOURCES, STYLES, drawings, fetch, read_concepts, render, unpacked


def make(
    output: Path, resolution: int = 64, limit: int | None = None, *, workers: int = 1, seconds: float = math.inf
) -> None:
    """Fetch, render and index everything, with so many processes. `limit` keeps the first so many concepts only; after
    so many `seconds` what is not yet rendered is left out."""
    end = time.monotonic() + seconds
    packages = output / "packages"
    fetch(packages, [LABELS, *(source[1] for source in SOURCES)])
    concepts = read_concepts(unpacked(packages, LABELS))[:limit]
    row = {concept["code"]: number for number, concept in enumerate(concepts)}
    draw = random.Random(0)
    held_out = set(draw.sample(range(len(concepts)), len(concepts) // 20))
    rendered, pictures = [], []
    for number, (style, *_) in enumerate(SOURCES):
        sources = drawings(packages, style, concepts)
        found, codes = 0, sorted(sources.keys() & row.keys())
        for code, picture in zip(codes, _rendered([sources[code] for code in codes], resolution, workers), strict=True):
            if time.monotonic() > end:
                break
            if picture is None:
                continue
            if row[code] in held_out:
                split = 0 if common(concepts[row[code]]) else 1  # what people ask for first is always trained on
            else:
                split = 2 if draw.random() < 0.02 else 0
            rendered.append(picture)
            pictures.append((row[code], number, split))
            found += 1
        print(f"{style:12} {found} pictures", flush=True)
    np.save(output / "pictures.npy", np.stack(rendered))
    for composed in ("scenes.npy", "scenes.json"):  # of the pictures that were here before
        (output / composed).unlink(missing_ok=True)
    index = {"styles": list(STYLES), "concepts": concepts, "pictures": pictures, "resolution": resolution}
    (output / "index.json").write_text(json.dumps(index))
    print(f"{len(pictures)} pictures of {len(concepts)} concepts", flush=True)


def _rendered(sources: list[str | Path], resolution: int, workers: int) -> Iterator[np.ndarray | None]:
    """What `render` makes of each, in order."""
    one = partial(render, resolution=resolution)
    if workers == 1:
        yield from map(one, sources)
        return
    with multiprocessing.Pool(workers) as pool:
        yield from pool.imap(one, sources, chunksize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("data/training"))
    parser.add_argument("--scale", choices=("cpu", "gpu"), default="cpu", help="cpu: 64 px, gpu: 128 px")
    parser.add_argument("--side", type=int, help="of the pictures in px, whatever the scale")
    parser.add_argument("--limit", type=int, help="only the first so many concepts")
    parser.add_argument("--workers", type=int, default=1, help="processes that render")
    parser.add_argument("--seconds", type=float, default=math.inf, help="after which the rest is left out")
    given = parser.parse_args()
    side = given.side or (64 if given.scale == "cpu" else 128)
    make(given.output, side, given.limit, workers=given.workers, seconds=given.seconds)


if __name__ == "__main__":
    main()
