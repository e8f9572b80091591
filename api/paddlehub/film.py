"""The pictures on the way to a finished one, out of the film that a job has left."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageSequence, UnidentifiedImageError

from generator.output.animation import told_steps
from generator.output.film import kept_steps


def shown_steps(params: Mapping[str, Any], total: int) -> list[int]:
    """The steps whose pictures are in the film of a job that made `total` steps, the last one among them."""
    # The first picture of a job is that of step 1.
    kept = list(kept_steps(int(params.get("save_every") or 1), total)[1:])
    if params.get("init_image") and total > 1:  # the picture it starts from is not shown
        kept = [step for step in kept if step > 1]
    return [*kept] if total in kept else [*kept, total]


def frames_of(film: bytes, steps: list[int]) -> list[tuple[int, Image.Image]]:
    """(step, picture) of a GIF or an animated WebP that holds these steps; none where it cannot be read.

    A film says when each step is to be seen, and leaves out some of very many. One of an earlier version does not, and
    shows one after another. Encoders put equal pictures that follow each other into one that stays longer, so pictures
    are found by their time.
    """
    try:
        with Image.open(io.BytesIO(film), formats=("GIF", "WEBP")) as opened:
            told = told_steps(opened)
            shown = [(one.convert("RGB"), float(one.info.get("duration") or 0)) for one in _each(opened)]
    except (UnidentifiedImageError, OSError, EOFError, ValueError):
        return []
    if told:
        times = [told[step] for step in steps if step in told]
        return list(zip([step for step in steps if step in told], _seen_at(times, shown), strict=True))
    if len(shown) == len(steps):
        return [(step, image) for step, (image, _) in zip(steps, shown, strict=True)]
    each = sum(duration for _, duration in shown[:-1]) / max(len(steps) - 1, 1)
    return list(zip(steps, _seen_at([number * each for number in range(len(steps))], shown), strict=True))


def _seen_at(times: Sequence[float], shown: Sequence[tuple[Image.Image, float]]) -> list[Image.Image]:
    """What is seen at ascending times in ms, of pictures that stay so many ms each."""
    found, ends, place = [], 0.0, 0
    for time in times:
        while place < len(shown) - 1 and time >= ends + shown[place][1] - 1e-6:
            ends += shown[place][1]
            place += 1
        found.append(shown[place][0])
    return found


def _each(film: Image.Image) -> Any:
    for frame in ImageSequence.Iterator(film):
        frame.load()  # its duration is known only then
        yield frame
