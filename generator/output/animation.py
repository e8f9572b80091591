"""Films to send: frames as GIF, WebP and MP4, crossfaded, with a pace of their own, none larger than chats take.

The same frames are the same bytes. Imports no torch.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from generator.images.encode import encode
from generator.output.pace import HOLD_S, changes, moment_of, moving_s, positions

MAX_BYTES = 2_000_000  # of each film
FPS = 24  # of MP4
MS = 100  # between two pictures of a GIF or WebP: browsers slow faster ones down, and there is room for larger ones
SIDE, SMALL_SIDE = 512, 256  # px, the shorter side: of an MP4; of the others, which are many times larger files
MIN_GIF_SIDE, PALETTE_SIDE = 96, 96
LONG_SIDE, MP4_LONG_SIDE = 1024, 2048  # px: WebP and GIF encoders keep all frames in memory, ffmpeg one
QUALITIES = (85, 65, 45, 30)  # of a WebP: the best that is small enough
SAMPLED, HOPELESS = 12, 1.3  # every twelfth picture tells whether all of them may be small enough, at little cost
# At most 2.6 Mbit in a second, 1.3 more at once: five seconds of whatever it is are below MAX_BYTES. More threads would
# keep that bound differently each time; bitexact leaves out the encoder's name and the time.
MP4_OPTIONS = ["-crf", "18", "-maxrate", "2600k", "-bufsize", "1300k", "-preset", "veryfast", "-threads", "1"]
MP4_OPTIONS += ["-map_metadata", "-1", "-movflags", "+faststart", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
IMAGE_DESCRIPTION = 0x010E  # of EXIF

Frame = Path | io.BytesIO | Image.Image  # a picture in a file, in the bytes of one, or as it is
Without = Callable[[str, Exception], None]


class Film:
    """Frames in order, the last one the finished picture; those that there is no moment for are left out.

    steps: of which step each frame is; None where it is of none, or nobody knows. A film says in its file when each of
    its steps is to be seen; see `told_steps`.
    """

    def __init__(self, frames: Sequence[Frame], steps: Sequence[int | None] = ()) -> None:
        """Reads the frames. Raises OSError for one that cannot be read."""
        steps = steps or [None] * len(frames)
        count = min(len(frames), round(moving_s(len(frames)) * FPS) or 1)
        chosen = [round(i * (len(frames) - 1) / max(count - 1, 1)) for i in range(count)]
        if count == 1:
            chosen = [len(frames) - 1]
        self._files, self._steps = [frames[i] for i in chosen], [steps[i] for i in chosen]
        self._moving_s = moving_s(count)
        self._small = [_shrunk(_read(file), SMALL_SIDE, LONG_SIDE) for file in self._files]
        self._changed = changes(self._small)

    def gif(self) -> bytes:
        """As large as MAX_BYTES allows. Every picture has colours of its own."""
        side, shown = SMALL_SIDE, self._moments()
        times = [MS * number for number in range(len(shown))]
        while True:
            size = fitting(self._small[-1].size, side, LONG_SIDE)
            large = self._rendered if side == SMALL_SIDE else self._pictures(shown, size)
            pictures = (_in_256_colours(one) for one in large)
            note: dict[str, Any] = {"comment": said.encode()} if (said := self._said(shown, times)) else {}
            timing = {"duration": _durations(times), "loop": 0, "disposal": 1}
            made = encode(next(pictures), "GIF", save_all=True, append_images=pictures, **timing, **note)
            if len(made) <= MAX_BYTES or side <= MIN_GIF_SIDE:
                return made
            side = max(MIN_GIF_SIDE, min(int(side * 0.95 * (MAX_BYTES / len(made)) ** 0.5), side - 1))

    def webp(self) -> bytes:
        """Of the best quality that MAX_BYTES allows; where none does, with half the pictures, and again."""
        size, moments = fitting(self._small[-1].size, SMALL_SIDE, LONG_SIDE), len(self._moments())
        for every in (1, 2, 4, 8):
            count = 1 + (moments - 1) // every
            shown = positions(self._changed, count)
            times = [every * MS * number for number in range(count)]
            pictures = self._rendered if every == 1 else list(self._pictures(shown, size))
            note: dict[str, Any] = {}
            if said := self._said(shown, times):
                note["exif"] = Image.Exif()
                note["exif"][IMAGE_DESCRIPTION] = said
            for quality in QUALITIES:
                few = _webp(pictures[::SAMPLED], quality, MS)
                if len(few) * SAMPLED > HOPELESS * MAX_BYTES:
                    continue
                made = _webp(pictures, quality, _durations(times), **note)
                if len(made) <= MAX_BYTES:
                    return made
        return _webp(pictures, QUALITIES[-1], _durations(times), **note)

    def mp4(self, folder: Path) -> bytes:
        """H.264 in yuv420p with even sides, as every player wants it; frames go to ffmpeg one at a time.

        folder: where ffmpeg may write meanwhile.
        """
        import imageio.v2 as imageio  # version 3 of its interface takes the frames of a video all at once

        width, height = _mp4_size(_read(self._files[0]).size)  # the last one may be upscaled
        target = folder / "film.part.mp4"
        writer = imageio.get_writer(
            target,
            format="FFMPEG",
            mode="I",
            fps=FPS,
            codec="libx264",
            pixelformat="yuv420p",
            macro_block_size=2,
            quality=None,
            ffmpeg_log_level="error",
            output_params=MP4_OPTIONS,
        )
        with writer:
            shown = positions(self._changed, 1 + round(self._moving_s * FPS))
            for image in _crossfaded(lambda n: _read(self._files[n]), shown, (width, height)):
                frame = np.asarray(image)
                writer.append_data(frame)
            for _ in range(round(HOLD_S * FPS) - 1):
                writer.append_data(frame)
        film = target.read_bytes()
        target.unlink()
        return film

    def _moments(self) -> list[float]:
        """Which frame is seen at each moment of a GIF or WebP."""
        return positions(self._changed, 1 + round(1000 * self._moving_s / MS))

    @cached_property
    def _rendered(self) -> list[Image.Image]:
        """The pictures of a WebP, and of a GIF that is as large."""
        return list(self._pictures(self._moments(), fitting(self._small[-1].size, SMALL_SIDE, LONG_SIDE)))

    def _pictures(self, shown: Sequence[float], size: tuple[int, int]) -> Iterator[Image.Image]:
        return _crossfaded(self._small.__getitem__, shown, size)

    def _said(self, shown: Sequence[float], times: Sequence[int]) -> str:
        """When, in ms, each step is to be seen; of those of one moment the last."""
        found = {times[moment_of(n, shown)]: step for n, step in enumerate(self._steps) if step is not None}
        return "steps " + " ".join(f"{step}@{ms}" for ms, step in found.items()) if found else ""


def films(frames: Sequence[Frame], folder: Path, without: Without, *, mp4: bool = True) -> dict[str, bytes]:
    """Pictures as GIF, WebP and MP4, by kind. without: told the kind that cannot be made, and why.

    folder: where ffmpeg may write meanwhile.
    """
    return made_of(lambda: Film(frames), folder, {"gif", "webp", *(("mp4",) if mp4 else ())}, without)


def made_of(
    film: Callable[[], Film], folder: Path, kinds: set[str], without: Without | None = None
) -> dict[str, bytes]:
    """The films of these kinds. without: told the kind that cannot be made, and why; None: what stands against it is
    raised."""
    made: dict[str, bytes] = {}
    opened: Film | None = None
    for kind in ("gif", "webp", "mp4"):
        if kind not in kinds:
            continue
        try:
            opened = opened or film()
            made[kind] = opened.mp4(folder) if kind == "mp4" else opened.gif() if kind == "gif" else opened.webp()
        except Exception as error:  # a film less, whatever its encoder says
            if without is None:
                raise
            without(kind, error)
    return made


def film_size(film: bytes, drawn: tuple[int, int]) -> tuple[int, int]:
    """(width, height) in px of a film of pictures of the size `drawn`."""
    if film[4:8] == b"ftyp":
        return _mp4_size(drawn)
    with Image.open(io.BytesIO(film)) as opened:
        return opened.size


def told_steps(film: Image.Image) -> dict[int, int]:
    """ms since its begin by the steps that are to be seen then, as a GIF or WebP made here says; else none."""
    said = film.info.get("comment", b"")
    said = said.decode("ascii", "replace") if isinstance(said, bytes) else str(said)
    said = said or str(film.getexif().get(IMAGE_DESCRIPTION, ""))
    return {int(step): int(ms) for step, ms in re.findall(r"(\d{1,9})@(\d{1,9})", said)}


def fitting(size: tuple[int, int], side: int, longest: int, *, down: bool = True) -> tuple[int, int]:
    """The size in px at which the shorter side has `side`, unless the longer one would exceed `longest`.

    down: larger ones are made smaller too; else only where they exceed that.
    """
    scale = side / min(size)
    if not down:
        scale = max(scale, 1.0)
    scale = min(scale, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _mp4_size(drawn: tuple[int, int]) -> tuple[int, int]:
    width, height = (max(2, side // 2 * 2) for side in fitting(drawn, SIDE, MP4_LONG_SIDE, down=False))
    return width, height


def _read(file: Frame) -> Image.Image:
    if isinstance(file, Image.Image):
        return file.convert("RGB")
    with Image.open(file) as image:
        return image.convert("RGB")


def _shrunk(image: Image.Image, side: int, longest: int) -> Image.Image:
    size = fitting(image.size, side, longest)
    return image if size[0] >= image.width else image.resize(size, Image.Resampling.LANCZOS)


def _crossfaded(
    frame: Callable[[int], Image.Image], shown: Sequence[float], size: tuple[int, int]
) -> Iterator[Image.Image]:
    """The picture of each moment: the frame before and the one after it, mixed as near as they are."""
    near: dict[int, Image.Image] = {}
    for position in shown:
        before, share = int(position), position - int(position)
        wanted = (before, before + 1) if share else (before,)
        near = {number: near[number] if number in near else frame(number) for number in wanted}
        if not share:
            yield _scaled(near[before], size)
        elif near[before].size == near[before + 1].size:  # quicker than to scale them up first
            yield _scaled(Image.blend(near[before], near[before + 1], share), size)
        else:
            yield Image.blend(_scaled(near[before], size), _scaled(near[before + 1], size), share)


def _scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _in_256_colours(image: Image.Image) -> Image.Image:
    """By median cut of a picture so small that it is quick, which leaves no rings in a blur; and white as it is."""
    small = image.copy()
    small.thumbnail((PALETTE_SIDE, PALETTE_SIDE), Image.Resampling.BOX)
    colours = small.quantize(255, Image.Quantize.MEDIANCUT)
    colours.putpalette([*(colours.getpalette() or [])[: 3 * 255], 255, 255, 255])
    return image.quantize(palette=colours, dither=Image.Dither.NONE)


def _webp(pictures: list[Image.Image], quality: int, ms: int | list[int], **note: Any) -> bytes:
    # Key frames alone: what differs little from frame to frame would stay as it was, and be seen as a ghost at the end.
    options = {"method": 0, "minimize_size": False, "kmin": 0, "kmax": 1, "loop": 0, "quality": quality, **note}
    return encode(pictures[0], "WEBP", save_all=True, append_images=pictures[1:], duration=ms, **options)


def _durations(times: Sequence[int]) -> list[int]:
    """ms that each picture stays, the last one longest."""
    return [after - before for before, after in pairwise(times)] + [int(1000 * HOLD_S)]
