"""Pictures in and out: frames go to disk as they come, and end as PNG, GIF, MP4, WebP and thumbnail.

Imports no torch: a picture here is anything numpy can read as (3, H, W) in [0, 1].
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import threading
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageOps, PngImagePlugin

from generator import params as parameters
from generator.params import Params
from generator.sprite_sheet import sprite_sheet
from generator.version import VERSION

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 40_000_000
MAX_FRAMES = 240
SHORT_SIDE = 256  # px: players and chats show smaller films badly
ANIMATION_SIDE = 512  # px: GIF and WebP encoders keep all frames in memory
HOLD_S = 1.5  # the finished picture stays before the film begins again
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
METADATA_KEY = "text2image"
# bitexact leaves out the encoder's name and the time, so the same frames are the same bytes.
FILM_OPTIONS = ["-crf", "18", "-preset", "fast", "-threads", "2", "-map_metadata", "-1", "-movflags", "+faststart"]
FILM_OPTIONS += ["-fflags", "+bitexact", "-flags:v", "+bitexact"]


class BadImage(ValueError):
    """An upload that is not a picture this project takes; one sentence."""


class NoMetadata(ValueError):
    """A picture without the settings it was made with; one sentence."""


def decode_image(data: bytes, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An uploaded PNG, JPEG, WebP or GIF (its first frame) as RGB, upright, transparency on white.

    Nothing is decoded before format and size are known to be permitted. Safe from any thread. Raises BadImage.
    """
    if len(data) > max_bytes:
        raise BadImage(f"The picture has {len(data) / 2**20:.1f} MB; at most {max_bytes / 2**20:.0f} MB are allowed.")
    # Pillow, fed hostile bytes, raises whatever its parsers stumble over; all of it means the same to the visitor.
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise BadImage("This is not a picture in PNG, JPEG, WebP or GIF format.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadImage(f"The picture is too large; at most {max_pixels / 1e6:.0f} million px are allowed.") from None
    except Exception:
        raise BadImage("The picture is damaged and cannot be opened.") from None
    width, height = image.size
    if width * height > max_pixels:
        raise BadImage(f"The picture has {width} x {height} px; at most {max_pixels / 1e6:.0f} million px are allowed.")
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16") or image.mode in ("I", "F"):
            depth = np.asarray(image, dtype=np.float64)
            image = Image.fromarray((depth / (257 if depth.max() > 255 else 1)).clip(0, 255).astype(np.uint8))
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return image.convert("RGB")
    except Exception:
        raise BadImage("The picture is damaged or cut short.") from None


def to_image(picture: ArrayLike) -> Image.Image:
    """(3, H, W) in [0, 1] -> RGB, rounded to 8 bits."""
    values = np.asarray(picture, dtype=np.float32)
    return Image.fromarray(np.ascontiguousarray(np.rint(values.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)))


def encode_preview(picture: ArrayLike, side: int = 512) -> bytes:
    """A small WebP, at most `side` px wide or high, of a picture in progress."""
    return _encode(_fitted(to_image(picture), 0, side), "WEBP", quality=85, method=2)


def encode_thumbnail(image: Image.Image, side: int = 256) -> bytes:
    """A WebP whose longer side is `side` px."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return _encode(image.resize(size, Image.Resampling.LANCZOS), "WEBP", quality=85, method=4)


def encode_png(image: Image.Image, engine: str, params: Params, score: float | None = None) -> bytes:
    """A PNG that carries its settings: ours in the chunk `text2image`, and `parameters` as other tools read it.

    No time of day goes in, so the same picture is the same bytes.
    """
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(METADATA_KEY, json.dumps(settings_of(engine, params, image.size, score), sort_keys=True))
    chunks.add_text("parameters", _parameters_text(engine, params, image.size))
    return _encode(image, "PNG", pnginfo=chunks, compress_level=6)


def settings_of(engine: str, params: Params, size: tuple[int, int], score: float | None = None) -> dict[str, Any]:
    """Everything a picture was made with, as plain values: what the JSON file and the PNG hold."""
    return {
        "engine": engine,
        "params": params.model_dump(mode="json"),
        "seed": params.seed,
        "size": list(size),
        "upscale": enlarged(params, size),
        "score": None if score is None or not math.isfinite(score) else round(score, 6),
        "versions": {"format": 1, "studio": VERSION, "torch": _version("torch"), "pillow": _version("pillow")},
    }


def enlarged(params: Params, size: tuple[int, int]) -> int:
    """How many times larger than drawn a picture of this size is; 1 also where it could not be enlarged."""
    drawn = params.actual_size
    factor = size[0] // drawn[0]
    return factor if factor > 1 and size == (factor * drawn[0], factor * drawn[1]) else 1


def read_metadata(data: bytes) -> tuple[str, Params]:
    """The engine and the parameters out of a PNG this project wrote. Raises NoMetadata, BadParams, UnknownName."""
    if len(data) > 20 * MAX_BYTES:
        raise NoMetadata(f"The file has {len(data) / 2**20:.0f} MB, too large to be a picture of this project.")
    try:
        text = Image.open(io.BytesIO(data), formats=("PNG",)).info.get(METADATA_KEY)
    except Exception:  # as in decode_image: hostile bytes, any error
        raise NoMetadata("This is not a PNG file.") from None
    if not isinstance(text, str):
        raise NoMetadata("This PNG does not say how it was made: it is not from this project, or was saved again.")
    try:
        saved = json.loads(text)
        engine, values = saved["engine"], saved["params"]
        if not isinstance(engine, str) or not isinstance(values, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NoMetadata("The settings in this PNG are damaged.") from None
    return engine, parameters.validate(engine, values)


def _parameters_text(engine: str, params: Params, size: tuple[int, int]) -> str:
    """Prompt, then `Key: value` pairs on one line, values with a comma, colon or newline quoted as JSON."""
    factor = enlarged(params, size)
    values: dict[str, Any] = {
        "Steps": params.steps,
        "Sampler": getattr(params, "optimiser", engine),
        "Seed": params.seed,
        "Size": f"{size[0] // factor}x{size[1] // factor}",
        "Model": params.checkpoint,
        "Engine": engine,
    }
    if factor > 1:
        values["Hires upscale"] = factor  # the name other tools give it
    if params.style:
        values["Style"] = params.style
    for name, value in params.changed().items():
        if name not in ("steps", "optimiser", "width", "height", "style", "upscale"):
            values[name.replace("_", " ").capitalize()] = "+".join(value) if isinstance(value, tuple) else value
    quoted = (json.dumps(str(v), ensure_ascii=False) if set(str(v)) & set(",:\n") else str(v) for v in values.values())
    return params.prompt + "\n" + ", ".join(f"{key}: {value}" for key, value in zip(values, quoted, strict=True))


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


class Recorder:
    """The frames of one picture in progress, as numbered files in a folder: memory and their number stay bounded.

    Re-opened on a folder it goes on: a frame that is added makes those of its step and later ones go. Which steps are
    kept depends on the step numbers alone, so an interrupted film ends the same as an uninterrupted one.
    OSError (full disk, read-only folder) is passed on to the caller.
    """

    def __init__(self, folder: Path, params: Params, engine: str = "vqgan-clip", max_frames: int = MAX_FRAMES) -> None:
        self.folder, self.params, self.engine, self.max_frames = folder, params, engine, max_frames
        self._lock = threading.Lock()
        self._frames = folder / "frames"
        self._frames.mkdir(parents=True, exist_ok=True)
        for half in self._frames.glob("*.part"):
            half.unlink()
        self._kept = sorted(int(path.stem) for path in self._frames.glob("*.png"))
        self._stride = getattr(params, "save_every", 1)

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
            for later in [step for step in self._kept if step >= index]:
                self._drop(later)
            data = _encode(image, "PNG", compress_level=1)
            write_whole(self.last_path, data)
            if index % self._stride_at(index) == 0:
                write_whole(self._path(index), data)
                self._kept.append(index)
                stride = self._stride_at(index)
                for step in [step for step in self._kept if step % stride]:
                    self._drop(step)

    def _stride_at(self, index: int) -> int:
        """Steps between kept frames of a film that has come to `index`: doubled each time it would get too long."""
        stride = self._stride
        while index // stride >= self.max_frames:
            stride *= 2
        return stride

    def _path(self, step: int) -> Path:
        return self._frames / f"{step:06d}.png"

    def _drop(self, step: int) -> None:
        self._path(step).unlink(missing_ok=True)
        self._kept.remove(step)

    def last(self) -> Image.Image | None:
        """The newest picture, None before the first."""
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
    ) -> dict[str, bytes]:
        """File contents by kind: png, thumbnail, json, gif, mp4 and webp as asked, sheet if the parameters ask for it.

        `final`: the finished picture enlarged, for png and thumbnail; films stay as large as their frames.
        Raises ValueError before the first frame, OSError when the disk is full.
        """
        with self._lock:
            last = final or self.last()
            if last is None:
                raise ValueError("There is no picture yet.")
            settings = settings_of(self.engine, self.params, last.size, score)
            made = {
                "png": encode_png(last, self.engine, self.params, score),
                "thumbnail": encode_thumbnail(last),
                "json": (json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode(),
            }
            frames = self._film()
            if getattr(self.params, "sprite_sheet", False):
                made["sheet"] = sprite_sheet(frames)
            if gif:
                made["gif"] = _animation("GIF", frames, disposal=1)
            if webp:
                made["webp"] = _animation("WEBP", frames, quality=80, method=2, minimize_size=False)
            if mp4:
                made["mp4"] = _mp4(frames, self.folder)
            return made

    def _film(self) -> list[Path]:
        """Paths of the frames in order, the finished picture last."""
        frames = [self._path(step) for step in self._kept]
        if frames and frames[-1].read_bytes() == self.last_path.read_bytes():
            frames.pop()
        return [*frames, self.last_path]

    def frames_to(self, folder: Path) -> None:
        """Copies the kept frames, one PNG each, named by their step."""
        folder.mkdir(parents=True, exist_ok=True)
        for step in self._kept:
            write_whole(folder / self._path(step).name, self._path(step).read_bytes())

    def discard(self) -> None:
        """Removes the folder with all its frames."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _frame_ms(count: int) -> int:
    """Milliseconds per frame, a multiple of GIF's 10: about six seconds of film, no faster than 25 frames a second."""
    return max(40, min(120, 6000 // count // 10 * 10))


def _fitted(image: Image.Image, least: int, most: int) -> Image.Image:
    """Scaled up by a whole factor until the shorter side has `least` px, or down until the longer has `most`."""
    factor: float = max(1, math.ceil(least / min(image.size)))
    if max(image.size) * factor > most:
        factor = min(1.0, most / max(image.size)) if factor == 1 else max(1, most // max(image.size))
    if factor == 1:
        return image
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _read(paths: list[Path], most: int) -> Iterator[Image.Image]:
    for path in paths:
        with Image.open(path) as image:
            yield _fitted(image.convert("RGB"), SHORT_SIDE, most)


def _animation(kind: str, paths: list[Path], **options: Any) -> bytes:
    """An endless GIF or WebP whose last frame is held."""
    each = _frame_ms(len(paths))
    durations = [each] * (len(paths) - 1) + [int(HOLD_S * 1000)]
    frames = _read(paths, ANIMATION_SIDE)
    if kind == "GIF":
        # Pillow's own choice, median cut, takes seconds a frame where this takes milliseconds.
        frames = (frame.quantize(256, Image.Quantize.FASTOCTREE) for frame in frames)
    return _encode(next(frames), kind, save_all=True, append_images=frames, duration=durations, loop=0, **options)


def _mp4(paths: list[Path], folder: Path) -> bytes:
    """H.264 in yuv420p with even sides, as every player wants it; frames go to ffmpeg one at a time."""
    import imageio_ffmpeg  # type: ignore[import-untyped]

    rate = 1000 / _frame_ms(len(paths))
    with Image.open(paths[-1]) as finished:
        width, height = (side // 2 * 2 for side in _fitted(finished, SHORT_SIDE, 4096).size)
    target = folder / "film.part.mp4"
    writer = imageio_ffmpeg.write_frames(
        str(target),
        (width, height),
        fps=rate,
        codec="libx264",
        pix_fmt_out="yuv420p",
        macro_block_size=2,
        quality=None,
        ffmpeg_log_level="error",
        output_params=FILM_OPTIONS,
    )
    writer.send(None)
    try:
        data = b""
        for image in _read(paths, 4096):
            data = image.crop((0, 0, width, height)).tobytes()
            writer.send(data)
        for _ in range(round(HOLD_S * rate)):
            writer.send(data)
    finally:
        writer.close()
    film = target.read_bytes()
    target.unlink()
    return film


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_whole(path: Path, data: bytes) -> None:
    """Whole, then renamed into place."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
