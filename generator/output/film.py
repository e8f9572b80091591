"""A picture in progress on disk, and the films of it: frames go to files as they come and end as GIF, WebP and MP4."""

from __future__ import annotations

import io
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from generator.images.encode import encode, encode_thumbnail, fitted, to_image, write_whole
from generator.images.sprite_sheet import sprite_sheet
from generator.output.metadata import encode_png, settings_of
from generator.output.sources import NONE, Sources
from generator.params import Params

MAX_FRAMES = 240  # of a film, and the finished picture
SHORT_SIDE = 256  # px: players and chats show smaller films badly
ANIMATION_SIDE = 512  # px: GIF and WebP encoders keep all frames in memory
HOLD_S = 1.5  # the finished picture stays before the film begins again
# bitexact leaves out the encoder's name and the time, so the same frames are the same bytes.
FILM_OPTIONS = ["-crf", "18", "-preset", "fast", "-threads", "2", "-map_metadata", "-1", "-movflags", "+faststart"]
FILM_OPTIONS += ["-fflags", "+bitexact", "-flags:v", "+bitexact"]

Frame = Path | io.BytesIO  # a picture in a file, or in the bytes of one


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
    ) -> None:
        self.folder, self.params, self.engine, self.max_frames = folder, params, engine, max_frames
        self.sources = sources  # what the picture is made from, for its settings
        self.trouble: OSError | None = None
        self._newest: Image.Image | None = None
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
            self._newest = image
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
        gif: bool = True,
        mp4: bool = True,
        webp: bool = True,
        without: Callable[[str, Exception], None] | None = None,
    ) -> dict[str, bytes]:
        """File contents by kind: png, thumbnail, json, gif, mp4 and webp as asked, sheet if the parameters ask for it.

        `final`: the finished picture upscaled, for png and thumbnail; films stay as large as their frames. `without`:
        told the kind of film that cannot be made and why, where the picture is to be had all the same. Raises
        ValueError before the first frame; and what stands against a film, unless `without` is told.
        """
        with self._lock:
            drawn = self.last()
            if drawn is None:
                raise ValueError("There is no picture yet.")
            made = still(final or drawn, self.engine, self.params, score, self.sources)
            frames = self._film(drawn)
            films: dict[str, Callable[[], bytes]] = {
                **({"sheet": lambda: sprite_sheet(frames)} if getattr(self.params, "sprite_sheet", False) else {}),
                **({"gif": lambda: _gif(frames)} if gif else {}),
                **({"webp": lambda: _webp(frames)} if webp else {}),
                **({"mp4": lambda: _mp4(frames, self.folder)} if mp4 else {}),
            }
            for kind, make in films.items():
                try:
                    made[kind] = make()
                except Exception as error:
                    if without is None:
                        raise
                    without(kind, error)
            return made

    def _film(self, drawn: Image.Image) -> list[Frame]:
        """The frames in order, the newest picture last."""
        frames: list[Frame] = [path for step in self._kept if (path := self._path(step)).is_file()]
        newest = encode(drawn, "PNG", compress_level=1)
        if frames and isinstance(frames[-1], Path) and frames[-1].read_bytes() == newest:
            frames.pop()
        return [*frames, io.BytesIO(newest)]

    def frames(self) -> dict[str, bytes]:
        """The kept frames, one PNG each, by names made of their steps."""
        return {self._path(step).name: self._path(step).read_bytes() for step in self._kept}

    def discard(self) -> None:
        """Removes the folder with all its frames."""
        shutil.rmtree(self.folder, ignore_errors=True)


def films(
    frames: list[Frame], folder: Path, without: Callable[[str, Exception], None], *, mp4: bool = True
) -> dict[str, bytes]:
    """Pictures of one size as GIF, WebP and MP4, by kind. without: told the kind that cannot be made, and why.

    folder: where ffmpeg may write meanwhile.
    """
    made: dict[str, bytes] = {}
    makers: dict[str, Callable[[], bytes]] = {"gif": lambda: _gif(frames), "webp": lambda: _webp(frames)}
    if mp4:
        makers["mp4"] = lambda: _mp4(frames, folder)
    for kind, make in makers.items():
        try:
            made[kind] = make()
        except Exception as error:  # a film less, whatever its encoder says
            without(kind, error)
    return made


def _is_whole(path: Path) -> bool:
    """Whether the checksums of a PNG are those of its bytes."""
    try:
        with Image.open(path) as image:
            image.verify()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


def still(
    picture: Image.Image, engine: str, params: Params, score: float | None = None, sources: Sources = NONE
) -> dict[str, bytes]:
    """The files of a finished picture that need no frames: png, thumbnail and json."""
    settings = settings_of(engine, params, picture.size, score, sources)
    return {
        "png": encode_png(picture, engine, params, score, sources),
        "thumbnail": encode_thumbnail(picture),
        "json": (json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode(),
    }


def kept_steps(save_every: int, total: int, max_frames: int = MAX_FRAMES) -> range:
    """The steps of which a film that has come to step `total` keeps a frame.

    Every `save_every`-th, a step 0 included where there was one; every second of them is left out, as often as needed,
    until there are fewer than `max_frames` after it.
    """
    stride = save_every
    while total // stride >= max_frames:
        stride *= 2
    return range(0, total + 1, stride)


def _frame_ms(count: int) -> int:
    """Milliseconds per frame, a multiple of GIF's 10: about six seconds of film, no faster than 25 frames a second."""
    return max(40, min(120, 6000 // count // 10 * 10))


def _read(paths: list[Frame], max_side: int) -> Iterator[Image.Image]:
    for path in paths:
        with Image.open(path) as image:
            yield fitted(image.convert("RGB"), SHORT_SIDE, max_side)


def _timing(count: int) -> dict[str, Any]:
    """Endless, the last frame held: the options of a GIF or WebP of so many frames."""
    return {"duration": [_frame_ms(count)] * (count - 1) + [int(HOLD_S * 1000)], "loop": 0}


def _gif(paths: list[Frame]) -> bytes:
    # Through Pillow alone: imageio takes no palettes and chooses colours by median cut, 50 times slower than this.
    frames = (frame.quantize(256, Image.Quantize.FASTOCTREE) for frame in _read(paths, ANIMATION_SIDE))
    return encode(next(frames), "GIF", save_all=True, append_images=frames, disposal=1, **_timing(len(paths)))


def _webp(paths: list[Frame]) -> bytes:
    import imageio.v3 as iio

    options = {"quality": 80, "method": 2, "minimize_size": False, **_timing(len(paths))}
    buffer = io.BytesIO()
    with iio.imopen(buffer, "w", plugin="pillow", extension=".webp") as film:
        for image in _read(paths, ANIMATION_SIDE):
            film.write(np.asarray(image), **options)
    return buffer.getvalue()


def _mp4(paths: list[Frame], folder: Path) -> bytes:
    """H.264 in yuv420p with even sides, as every player wants it; frames go to ffmpeg one at a time."""
    import imageio.v2 as imageio  # version 3 of its interface takes the frames of a video all at once

    rate = 1000 / _frame_ms(len(paths))
    with Image.open(paths[-1]) as finished:
        width, height = (side // 2 * 2 for side in fitted(finished, SHORT_SIDE, 4096).size)
    target = folder / "film.part.mp4"
    writer = imageio.get_writer(
        target,
        format="FFMPEG",
        mode="I",
        fps=rate,
        codec="libx264",
        pixelformat="yuv420p",
        macro_block_size=2,
        quality=None,
        ffmpeg_log_level="error",
        output_params=FILM_OPTIONS,
    )
    with writer:
        for image in _read(paths, 4096):
            frame = np.asarray(image.crop((0, 0, width, height)))
            writer.append_data(frame)
        for _ in range(round(HOLD_S * rate)):
            writer.append_data(frame)
    film = target.read_bytes()
    target.unlink()
    return film
