"""A picture in progress on disk: frames go to files as they come, and end as films of how it formed."""

from __future__ import annotations

import io
import json
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from generator.images.encode import encode, encode_thumbnail, to_image, write_whole
from generator.images.sprite_sheet import sprite_sheet
from generator.output.animation import Film, Frame, Without, made_of
from generator.output.licence import xmp
from generator.output.metadata import encode_png, settings_of
from generator.output.sources import NONE, Sources
from generator.params import Params

MAX_FRAMES = 240  # of a film, and the finished picture


class Recorder:
    """The frames of one picture in progress, as numbered files in a folder: memory and their number stay bounded.

    Re-opened on a folder it goes on, without frames that a power cut has torn: a frame that is added makes those of its
    step and later ones go. Which steps are kept depends on the step numbers alone, so an interrupted film ends the same
    as an uninterrupted one.
    A frame that cannot be written (full disk, read-only folder) is missing from the film, and `trouble` says why; the
    newest picture is kept in memory and never lost. OSError where the folder itself cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        params: Params,
        engine: str = "vqgan-clip",
        max_frames: int = MAX_FRAMES,
        sources: Sources = NONE,
        licence: str = "",
    ) -> None:
        self.folder, self.params, self.engine, self.max_frames = folder, params, engine, max_frames
        self.sources = sources  # what the picture is made from, for its settings
        self.licence = licence  # what it is under, likewise
        self.trouble: OSError | None = None
        self._newest: Image.Image | None = None
        self._index: int | None = None  # its step
        self._lock = threading.Lock()
        self._frames = folder / "frames"
        self._frames.mkdir(parents=True, exist_ok=True)
        for half in self._frames.glob("*.part"):
            half.unlink()
        for frame in (*self._frames.glob("*.png"), self.last_path):
            if frame.is_file() and not _is_whole(frame):  # frames do not wait for the disk: the power may have failed
                frame.unlink()
        self._kept = sorted(int(path.stem) for path in self._frames.glob("*.png"))
        self._save_every = getattr(params, "save_every", 1)

    @property
    def last_path(self) -> Path:
        """The newest picture, whole at any time; there is none before the first frame."""
        return self.folder / "last.png"

    @property
    def steps(self) -> list[int]:
        """The steps of which frames are kept, ascending."""
        return list(self._kept)

    def add(self, index: int, picture: ArrayLike) -> None:
        """The picture (3, H, W) in [0, 1] after step `index`."""
        image = to_image(picture)
        with self._lock:
            self._newest, self._index = image, index
            try:
                self._write(index, image)
            except OSError as error:
                self.trouble = error

    def _write(self, index: int, image: Image.Image) -> None:
        for later in [step for step in self._kept if step >= index]:
            self._drop(later)
        data = encode(image, "PNG", compress_level=1)
        write_whole(self.last_path, data)
        kept = kept_steps(self._save_every, index, self.max_frames)
        if index in kept:
            write_whole(self._path(index), data)
            self._kept.append(index)
            for step in [step for step in self._kept if step not in kept]:
                self._drop(step)

    def _path(self, step: int) -> Path:
        return self._frames / f"{step:06d}.png"

    def _drop(self, step: int) -> None:
        self._path(step).unlink(missing_ok=True)
        self._kept.remove(step)

    def last(self) -> Image.Image | None:
        """The newest picture, None before the first."""
        if self._newest is not None:
            return self._newest
        if not self.last_path.is_file():
            return None
        with Image.open(self.last_path) as image:
            return image.convert("RGB")

    def finish(
        self,
        score: float | None = None,
        final: Image.Image | None = None,
        *,
        draft: ArrayLike | None = None,
        gif: bool = True,
        mp4: bool = True,
        webp: bool = True,
        without: Without | None = None,
    ) -> dict[str, bytes]:
        """File contents by kind: png, thumbnail, json, gif, mp4 and webp as asked, sheet if the parameters ask for it.

        `final`: the finished picture upscaled, which films end with. draft: how the start came to be, which films begin
        with, (F, 3, H, W) in [0, 1]. `without`: told the kind of film that cannot be made and why, where the picture is
        to be had all the same. Raises ValueError before the first frame; and what stands against a film, unless
        `without` is told.
        """
        with self._lock:
            drawn = self.last()
            if drawn is None:
                raise ValueError("There is no picture yet.")
            made = still(final or drawn, self.engine, self.params, score, self.sources, licence=self.licence)
            frames, steps = self._film(drawn)
            if getattr(self.params, "sprite_sheet", False):
                made |= _sheet(frames, without)
            before = [] if draft is None else [to_image(one) for one in np.asarray(draft)]
            after = [] if final is None else [final]
            if after:
                steps = [*steps[:-1], None, steps[-1]]
            whole: list[Frame] = [*before, *frames, *after]
            kinds = {kind for kind, asked in (("gif", gif), ("webp", webp), ("mp4", mp4)) if asked}
            return made | made_of(lambda: Film(whole, [None] * len(before) + steps), self.folder, kinds, without)

    def _film(self, drawn: Image.Image) -> tuple[list[Path | io.BytesIO], list[int | None]]:
        """The frames in order, the newest picture last, and their steps."""
        kept = [step for step in self._kept if self._path(step).is_file()]
        frames: list[Path | io.BytesIO] = [self._path(step) for step in kept]
        newest, last = io.BytesIO(encode(drawn, "PNG", compress_level=1)), self._index
        if frames and isinstance(frames[-1], Path) and frames[-1].read_bytes() == newest.getvalue():
            frames.pop()
            last = kept.pop()
        return [*frames, newest], [*kept, last]

    def frames(self) -> dict[str, bytes]:
        """The kept frames, one PNG each, by names made of their steps."""
        return {self._path(step).name: self._path(step).read_bytes() for step in self._kept}

    def discard(self) -> None:
        """Removes the folder with all its frames."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _sheet(frames: Sequence[Path | io.BytesIO], without: Without | None) -> dict[str, bytes]:
    try:
        return {"sheet": sprite_sheet(frames)}
    except Exception as error:
        if without is None:
            raise
        without("sheet", error)
        return {}


def _is_whole(path: Path) -> bool:
    """Whether the checksums of a PNG are those of its bytes."""
    try:
        with Image.open(path) as image:
            image.verify()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


def still(
    picture: Image.Image,
    engine: str,
    params: Params,
    score: float | None = None,
    sources: Sources = NONE,
    *,
    licence: str = "",
) -> dict[str, bytes]:
    """The files of a finished picture that need no frames: png, thumbnail and json."""
    settings = settings_of(engine, params, picture.size, score, sources, licence=licence)
    return {
        "png": encode_png(picture, engine, params, score, sources, licence=licence),
        "thumbnail": licensed_thumbnail(picture, licence),
        "json": (json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode(),
    }


def licensed_thumbnail(picture: Image.Image, licence: str) -> bytes:
    """The thumbnail of a picture that is under this licence; empty: under none that is told."""
    return encode_thumbnail(picture, xmp=xmp(licence)) if licence else encode_thumbnail(picture)


def kept_steps(save_every: int, total: int, max_frames: int = MAX_FRAMES) -> range:
    """The steps of which a film that has come to step `total` keeps a frame.

    Every `save_every`-th, a step 0 included where there was one; every second of them is left out, as often as needed,
    until there are fewer than `max_frames` after it.
    """
    stride = save_every
    while total // stride >= max_frames:
        stride *= 2
    return range(0, total + 1, stride)
