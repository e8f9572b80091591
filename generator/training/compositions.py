"""Compose scenes for the second family: `python -m generator.training.compositions data/training --count 20000`.

Makes `scenes.npy` and `scenes.json` of the pictures in the folder, at their side, as `generator.training.pairs` reads
them. Number n is the same scene in every call, with any number of processes; a call goes on after what is there, and
one that is out of time, or interrupted, leaves what there is until then.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import random
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from generator.training import dataset
from generator.training.scenes import Art, captions, composition
from lasting import put_in_place

TELL_EVERY = 5  # s


def make(folder: Path, count: int, *, workers: int = 1, seconds: float = math.inf) -> int:
    """Compose until there are `count`, with so many processes, for at most so many seconds: how many there are then.
    Raises DataMissing, and ValueError where no scene can be made of the pictures."""
    start = told = time.monotonic()
    side = dataset.load(folder, mapped=True).rgba.shape[1]
    pictures, texts = folder / "scenes.npy", folder / "scenes.json"
    said = json.loads(texts.read_text()) if texts.is_file() else {"captions": [], "styles": []}
    done = there = len(said["captions"])
    if there >= count:
        return there
    part = pictures.with_suffix(".part")
    made = np.lib.format.open_memmap(part, "w+", np.uint8, (count, side, side, 4))
    if there:
        made[:there] = np.load(pictures, mmap_mode="r")[:there]
    # Processes that begin alike, whatever this one has done; what they import is imported once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["generator.training.scenes"])
    pool = ProcessPoolExecutor(workers, context, _begin)
    left = None if seconds == math.inf else seconds
    try:
        for rgba, captions_of, style in pool.map(
            partial(compose, folder=folder), range(there, count), timeout=left, chunksize=4
        ):
            made[done] = rgba
            said["captions"].append(captions_of)
            said["styles"].append(style)
            done += 1
            if time.monotonic() - told > TELL_EVERY:
                told = time.monotonic()
                print(f"{done} of {count} scenes, {(done - there) / (told - start):.0f} a second", flush=True)
    except (TimeoutError, KeyboardInterrupt):
        pass
    finally:
        pool.shutdown(cancel_futures=True)
        if there < done < count:
            shorter = part.with_suffix(".shorter")
            np.lib.format.open_memmap(shorter, "w+", np.uint8, (done, side, side, 4))[:] = made[:done]
            shorter.replace(part)
        if there < done:
            put_in_place(part, pictures)
            texts.with_suffix(".tmp").write_text(json.dumps(said))
            put_in_place(texts.with_suffix(".tmp"), texts)
        part.unlink(missing_ok=True)
    return done


def compose(number: int, folder: Path) -> tuple[np.ndarray, list[str], str]:
    """Scene number n of the pictures in a folder: (R, R, 4) uint8 with straight alpha, its captions and its style."""
    art = _art(folder)
    made, scene, style = composition(number, art, art.pictures.rgba.shape[1])
    straight = torch.cat([made[:3] / made[3:].clamp(min=1e-4), made[3:]]).clamp(0, 1)
    rgba = (straight * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    return rgba, captions(scene, style, random.Random(f"captions {number}")), style


@cache
def _art(folder: Path) -> Art:
    return Art.of(dataset.load(folder, mapped=True))


def _begin() -> None:
    """Each process has one thread, and leaves it to the one that began it to be interrupted."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the data that `generator.training.data` made")
    parser.add_argument("--count", type=int, default=20_000, help="scenes in all")
    parser.add_argument("--workers", type=int, default=1, help="processes that compose")
    parser.add_argument("--seconds", type=float, default=math.inf, help="after which the rest is left out")
    given = parser.parse_args()
    try:
        there = make(given.folder, given.count, workers=given.workers, seconds=given.seconds)
    except (dataset.DataMissing, ValueError) as error:
        raise SystemExit(f"No scenes: {error}") from None
    print(f"{there} scenes in {given.folder}", flush=True)


if __name__ == "__main__":
    main()
