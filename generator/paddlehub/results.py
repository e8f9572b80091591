"""Finished pictures in the nested Documents that PaddleHub's modules answer with, and in its files.

disco_diffusion: a Document for each of n_batches, its chunks the pictures on the way. stable_diffusion: a Document for
each prompt, its chunks the pictures and, last, all of them side by side; their chunks the pictures on the way.
"""

from __future__ import annotations

import base64
import io
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from generator.images.encode import encode, write_whole
from generator.output.documents import document_classes
from generator.output.files import store
from generator.paddlehub.arguments import DiscoArguments
from generator.paddlehub.planning import SAME, SCHEDULES, Group, Plan

_DRAWN_WITH = {*SAME, *SCHEDULES, "seed", "checkpoint", "perlin_mode"}
Classes = tuple[Any, Any]  # Document and DocumentArray


@dataclass(frozen=True)
class Made:
    """A finished picture as PNG. settings: of the engine. total: steps of the whole way; frames: (steps made,
    picture) on it."""

    png: bytes
    settings: Mapping[str, Any]
    total: int
    frames: Sequence[tuple[int, Image.Image]]

    @cached_property
    def picture(self) -> Image.Image:
        """The finished one, RGB."""
        with Image.open(io.BytesIO(self.png)) as found:
            return found.convert("RGB")

    @cached_property
    def way(self) -> list[tuple[int, Image.Image]]:
        """The frames before the finished picture, as large as that."""
        size = self.picture.size
        return [
            (step, one if one.size == size else one.resize(size, Image.Resampling.LANCZOS))
            for step, one in self.frames
            if step < self.total
        ]


def documents(plan: Plan, made: Sequence[Sequence[Made]], classes: Classes | None = None) -> Any:
    """The DocumentArray. made: the pictures of each group. classes: docarray's where installed, unless given."""
    which = classes or document_classes()
    build = _disco if isinstance(plan.arguments, DiscoArguments) else _stable
    return which[1]([build(plan, group, some, which) for group, some in zip(plan.groups, made, strict=True)])


def _disco(plan: Plan, group: Group, made: Sequence[Made], classes: Classes) -> Any:
    tags = plan.arguments.named
    if tags["init_image"] is not None:
        tags["init_image"] = "a picture"  # as a text it may be a whole file in base64
    # What it was drawn with: an embedded model has settings of its own where nothing was said.
    tags |= {name: value for name, value in made[0].settings.items() if name in _DRAWN_WITH}
    tags |= {"text_prompts": [group.prompt], "width_height": list(made[-1].picture.size)}
    whole = _document(classes, made[-1].png, tags)
    for step in sorted({step for one in made for step, _ in one.way}):
        for one in made:
            pictures = dict(one.way)
            if step in pictures:
                whole.chunks.append(_document(classes, _png(pictures[step]), {"cur_t": one.total - 1 - step}))
    for one in made:
        whole.chunks.append(_document(classes, one.png, {"cur_t": -1}))
    return whole


def _stable(plan: Plan, group: Group, made: Sequence[Made], classes: Classes) -> Any:
    prompt = group.prompt
    merged = _png(side_by_side([one.picture for one in made]))
    whole = _document(classes, merged, {"prompt": prompt})
    for number, one in enumerate(made):
        chunk = _document(classes, one.png, {"prompt": prompt, "image idx": number})
        for step, picture in one.way:
            chunk.chunks.append(_document(classes, _png(picture), {"step": step - 1, "prompt": prompt}))
        whole.chunks.append(chunk)
    last = _document(classes, merged, {"prompt": prompt, "image idx": "merged"})
    for frames in zip(*(one.way for one in made), strict=False):
        picture = side_by_side([image for _, image in frames])
        last.chunks.append(_document(classes, _png(picture), {"step": frames[0][0] - 1, "prompt": prompt}))
    whole.chunks.append(last)
    return whole


def side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    """One picture of several of the same size, from left to right."""
    width, height = pictures[0].size
    page = Image.new("RGB", (width * len(pictures), height))
    for place, one in enumerate(pictures):
        page.paste(one, (place * width, 0))
    return page


class Files:
    """What a module leaves in output_dir, under PaddleHub's names as far as a file can be called so.

    A result that is there already is not lost to another one of the same name, which gets a number.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        folder: str | None = getattr(plan.arguments, "output_dir", None)
        self._folder = None if folder is None else Path(folder)
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)

    def progress(self, number: int, pictures: Sequence[Image.Image]) -> None:
        """The newest pictures of a group, to be looked at while it is drawn."""
        if self._folder is None:
            return
        disco = isinstance(self._plan.arguments, DiscoArguments)
        name = f"progress-{number}.png" if disco else f"{_stem(self._plan.groups[number].prompt)}-progress.png"
        write_whole(self._folder / name, _png(side_by_side(pictures)))

    def finished(self, number: int, document: Any, made: Sequence[Made]) -> None:
        """The files of a group whose Document is made."""
        if self._folder is None:
            return
        if isinstance(self._plan.arguments, DiscoArguments):
            given = f"{_stem(self._plan.arguments.batch_name)}-" if self._plan.arguments.batch_name else ""
            name = f"{self._plan.module.name}-{given}{made[0].settings['seed']}-progress-{number}"
            with tempfile.TemporaryDirectory() as folder:  # docarray's own wants a path
                sheet = Path(folder) / f"{name}.png"
                document.chunks.plot_image_sprites(str(sheet), show_index=True, keep_aspect_ratio=True)
                store(self._folder / name, {".png": sheet.read_bytes()})
            return
        files = {f"-image-{place}.png": one.png for place, one in enumerate(made)}
        files["-merge.png"] = _png(side_by_side([one.picture for one in made]))
        store(self._folder / _stem(self._plan.groups[number].prompt), files)


def _stem(text: str) -> str:
    """A text as a part of a file's name: what no file can be called is left out, and what is too long."""
    return re.sub(r'[\x00-\x1f/\\:*?"<>|]+', " ", text).strip(" .").encode()[:120].decode(errors="ignore") or "prompt"


def _document(classes: Classes, png: bytes, tags: dict[str, Any]) -> Any:
    uri = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return classes[0](uri=uri, mime_type="image/png", tags=tags)


def _png(image: Image.Image) -> bytes:
    return encode(image, "PNG", compress_level=4)
