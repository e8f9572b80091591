"""What a job leaves behind: the files of a drawing and its film, of one picture made from another, or of a result."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.errors import UnknownArtefact
from generator import registry
from generator.images.decode import BadImage, decode_image
from generator.images.encode import to_image
from generator.output.animation import film_size
from generator.output.film import Recorder, licensed_thumbnail, still
from generator.output.inherited import settings_in, with_settings
from generator.output.licence import is_one
from generator.output.sources import Sources
from generator.params import JobParams, Params
from generator.starts.masks import keep_in_upscaled
from generator.tiling import MAX_PX
from generator.upscaler.model import NotUpscaled, upscale_steps

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from generator.engines.base import Step

TYPES = {  # kind of artefact -> (media type, extension)
    "picture": ("image/png", "png"),
    "thumbnail": ("image/webp", "webp"),
    "preview": ("image/webp", "webp"),
    "gif": ("image/gif", "gif"),
    "sheet": ("image/webp", "webp"),
    "webp": ("image/webp", "webp"),
    "mp4": ("video/mp4", "mp4"),
    "json": ("application/json", "json"),
    "result": ("application/json", "json"),
    "state": ("application/octet-stream", "pt"),
    "model": ("application/octet-stream", "safetensors"),
    "card": ("text/markdown", "md"),
    "history": ("text/csv", "csv"),
    "curves": ("image/png", "png"),
    "samples": ("application/zip", "zip"),
    "tensorboard": ("application/octet-stream", "tfevents"),
}
Say = Callable[[str, BaseException], None]  # an event and what brought it about


@dataclass(frozen=True)
class File:
    """A file of a job: its kind as in TYPES, its bytes, and its size in px where it is an image or a film."""

    kind: str
    data: bytes
    size: tuple[int, int] | None = None
    path: Path | None = None  # of one too large to hold; data is empty then

    @property
    def length(self) -> int:
        """How many bytes it has."""
        return len(self.data) if self.path is None else self.path.stat().st_size


class Files:
    """What one job has made so far. Used by one thread, but for `on_step`."""

    def __init__(
        self,
        engine: str,
        params: JobParams,
        made_from: Sources,
        folder: Path,
        read: Callable[[str], bytes],
        licence: str = "",
        **upscaling: Any,
    ) -> None:
        """folder: for frames, made when the first one comes. read: the bytes of a picture named in the parameters.

        licence: what its pictures are under, empty: none is told. upscaling: `device` and `checkpoints_dir` of an
        upscaler that is not the embedded one.
        """
        self._upscaling = upscaling
        self.engine, self.params, self.made_from, self.folder = engine, params, made_from, folder
        self.makes = registry.ENGINES[engine].makes
        self._read, self._licence = read, licence
        self._recorder: Recorder | None = None
        self._frames_missing = False
        self._last: torch.Tensor | None = None
        self._draft: torch.Tensor | None = None  # how the draft it began with came to be
        self._result: dict[str, Any] | None = None
        self.keeps_given = bool(getattr(params, "mask_image", None))  # parts of its picture are not a model's

    def shows(self, step: Step) -> bool:
        """Whether the picture of this step is kept for others to see: not the first one of a drawing that starts from
        a picture, which is nearly that picture itself."""
        starts = step.index <= 1 and not step.done and getattr(self.params, "init_image", None)
        return self.makes == "drawing" and not starts

    def on_step(self, step: Step) -> None:
        """Keeps what the newest step has made."""
        if step.image is not None and (self.makes != "drawing" or self.shows(step)):
            self._last = step.image
        if step.draft is not None:
            self._draft = step.draft
        if step.result is not None:
            self._result = step.result

    def frame(self, index: int, image: torch.Tensor, say: Say) -> None:
        """A frame of the film. A disk that does not take it costs the film that frame, and never the picture."""
        if not isinstance(self.params, Params):
            return
        trouble: OSError | None = None
        try:
            if self._recorder is None:
                self._recorder = Recorder(
                    self.folder, self.params, self.engine, sources=self.made_from, licence=self._licence
                )
            self._recorder.add(index, image)
            trouble, self._recorder.trouble = self._recorder.trouble, None
        except OSError as error:  # there is not even a folder
            trouble = error
        if trouble is not None and not self._frames_missing:
            self._frames_missing = True
            say("frames_missing", trouble)

    def upscaled(self, stop: Callable[[], bool], say: Say) -> Image.Image | None:
        """The finished drawing as large as `upscale` says; None where it stays as drawn or `stop` says so."""
        drawn = self._drawn()
        final = None
        if isinstance(self.params, Params) and self.params.upscale > 1 and drawn is not None:
            try:
                for progress in upscale_steps(drawn, self.params.upscale, self.params.upscaler, **self._upscaling):
                    if stop():
                        return None
                    final = progress.image
            except NotUpscaled as error:
                say("not_upscaled", error)
        return final

    def finished(self, score: float | None, final: Image.Image | None, say: Say) -> Iterator[File]:
        """The files of a job that has made its last step, the picture first.

        Raises ValueError where it has made nothing, StoreUnavailable where what it was made from cannot be read now.
        """
        if self.makes == "result":
            yield self._document()
        elif isinstance(self.params, Params):
            yield from self._drawing(score, final, say)
        else:
            yield from self._picture()

    def unfinished(self, score: float | None) -> Iterator[File]:
        """The last good picture of a drawing that cannot go on."""
        if isinstance(self.params, Params) and self._last is not None:
            files = self._still(to_image(self._last), self.params, score)
            yield File("picture", files["png"], self.params.actual_size)
            yield File("thumbnail", files["thumbnail"], self.params.actual_size)

    def _still(self, picture: Image.Image, params: Params, score: float | None) -> dict[str, bytes]:
        return still(picture, self.engine, params, score, self.made_from, licence=self._licence)

    def _drawn(self) -> Image.Image | None:
        """The newest picture: from memory, since whatever is on a disk may be missing."""
        if self._last is not None:
            return to_image(self._last)
        return self._recorder.last() if self._recorder else None

    def _drawing(self, score: float | None, final: Image.Image | None, say: Say) -> Iterator[File]:
        params, drawn = self.params, self._drawn()
        assert isinstance(params, Params)
        if drawn is None:
            raise ValueError("The job has ended without a picture.")
        if final is not None:
            final = self._with_kept(final, params, say)
        if self._recorder is None:
            files = self._still(final or drawn, params, score)
        else:
            # A picture without its MP4 (a full disk, a missing or broken ffmpeg) is better than none.
            draft = self._draft
            files = self._recorder.finish(
                score, final, draft=draft, without=lambda kind, error: say(f"no_{kind}", error)
            )
        for name, data in files.items():
            size: tuple[int, int] | None = final.size if final else params.actual_size
            if name in ("gif", "webp", "mp4"):
                size = film_size(data, params.actual_size)
            yield File("picture" if name == "png" else name, data, None if name in ("json", "sheet") else size)

    def _with_kept(self, final: Image.Image, params: Params, say: Say) -> Image.Image:
        """The upscaled picture with what a mask keeps as it was given. Raises StoreUnavailable."""

        def read_image(reference: str) -> Image.Image:
            data = self._read(reference)
            return decode_image(data, len(data), MAX_PX)

        try:
            return keep_in_upscaled(final, params, read_image)
        except (UnknownArtefact, BadImage) as error:  # deleted meanwhile: it is there as it was drawn
            say("not_kept_large", error)
            return final

    def _picture(self) -> Iterator[File]:
        """One picture made from another: it carries the settings that one was drawn with."""
        if self._last is None:
            raise ValueError("The job has ended without a picture.")
        picture = to_image(self._last)
        source = self._read(self.params.sources[0])
        checkpoint = self.params.loads[0]
        embedded = checkpoint in registry.CHECKPOINTS and registry.CHECKPOINTS[checkpoint].embedded
        drawn = settings_in(source).get("params")
        self.keeps_given = not isinstance(drawn, dict) or bool(drawn.get("mask_image"))
        settings = {**self._settings(), "size": list(picture.size), "made_from": settings_in(source)}
        png = with_settings(picture, source, embedded, self._licence)
        told = settings_in(png).get("licence")
        licence = told if is_one(told) else ""
        yield File("picture", png, picture.size)
        yield File("thumbnail", licensed_thumbnail(picture, licence), picture.size)
        yield File("json", json_document({**settings, **({"licence": licence} if licence else {})}))

    def _document(self) -> File:
        if self._result is None:
            raise ValueError("The job has ended without a result.")
        return File("result", json_document({**self._settings(), "result": self._result}))

    def _settings(self) -> dict[str, Any]:
        told = {"sources": self.made_from.plain()} if self.made_from else {}
        return {"engine": self.engine, "params": self.params.model_dump(mode="json"), **told}


def json_document(document: dict[str, Any]) -> bytes:
    """Plain values as a file for people and programs."""
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()
