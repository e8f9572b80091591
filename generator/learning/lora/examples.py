"""Captioned pictures as a run shows them: cut to their bucket, turned into latents, their captions ready to read."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from generator.images.decode import BadImage, ReadersBusy, decode_image
from generator.learning.lora.buckets import bucket_of, buckets, fitted
from generator.learning.stream.samples import CaptionStream, DataProblem, Sample
from generator.params.train_lora import TrainLoraParams
from generator.tokens import CONTEXT, encode

MAX_UNREADABLE = 256  # pictures one after the other
Made = TypeVar("Made")

MAX_READ = 2000  # characters of a caption, of which 75 tokens are read


@dataclass(frozen=True)
class Latents:
    """mean, std: of what the VAE says, (C, h, w) float32 on the CPU, not scaled yet. told: what XL is told of it:
    height and width of the file, top and left of what is shown, height and width of that, in px."""

    mean: Tensor
    std: Tensor
    told: tuple[int, int, int, int, int, int]

    @property
    def nbytes(self) -> int:
        return self.mean.nbytes + self.std.nbytes


@dataclass(frozen=True)
class Example:
    """One picture of a batch, by the id of its sample."""

    id: str
    caption: str
    latents: Latents


class Cache(Generic[Made]):
    """What was computed last, at most so many bytes of it."""

    def __init__(self, max_bytes: int) -> None:
        self._left, self._kept = max_bytes, OrderedDict[object, tuple[Made, int]]()

    def get(self, key: object, make: Callable[[], tuple[Made, int]]) -> Made:
        """What `make` gave for the key, and of how many bytes; made anew where it is not kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        value, nbytes = make()
        self._kept[key] = value, nbytes
        self._left -= nbytes
        while self._left < 0 and self._kept:
            self._left += self._kept.popitem(last=False)[1][1]
        return value


class Examples:
    """Examples of a stream. moments: pictures (1, 3, H, W) in [-1, 1] -> mean and std of the VAE's answer, each
    (1, C, h, w)."""

    def __init__(
        self,
        stream: CaptionStream,
        params: TrainLoraParams,
        cache: Cache[Latents | None],
        moments: Callable[[Tensor], tuple[Tensor, Tensor]],
    ) -> None:
        self._stream, self._params, self._cache, self._moments = stream, params, cache, moments
        self._sizes = buckets(params.resolution, params.bucket_step, params.max_ratio)
        self.position = 0  # in the stream, after the last example that was read
        self._samples: Iterator[Sample] | None = None

    def go_to(self, position: int) -> None:
        """Read on from there."""
        self.position, self._samples = position, None

    def read(self, count: int) -> list[Example]:
        """The next examples. Files that are no pictures are passed over. Raises DataProblem."""
        if self._samples is None:
            self._samples = self._stream.samples("train", start=self.position, seed=self._params.seed)
        found: list[Example] = []
        unreadable = 0
        for sample in self._samples:
            self.position += 1
            example = self.example(sample, self._is_mirrored())
            unreadable = 0 if example else unreadable + 1
            if unreadable > MAX_UNREADABLE:
                raise DataProblem(f"{self._stream.name}: {unreadable} files one after the other are no pictures.")
            if example:
                found.append(example)
            if len(found) == count:
                return found
        raise DataProblem(f"{self._stream.name} ended before the run did; there is nothing more to learn from.")

    def kept_back(self, most: int) -> list[Example]:
        """The first of those that are kept from training, at most so many."""
        found: list[Example] = []
        for sample in self._stream.samples("validation"):
            if len(found) == most:
                break
            if example := self.example(sample):
                found.append(example)
        return found

    def _is_mirrored(self) -> bool:
        """Decided by the place in the stream, so that a run that goes on shows what it would have shown."""
        drawn = hashlib.sha256(f"{self._params.seed} {self.position}".encode()).digest()[0] & 1
        return self._params.mirror and drawn == 1

    def example(self, sample: Sample, mirrored: bool = False) -> Example | None:
        """None for a file that is no picture."""

        def make() -> tuple[Latents | None, int]:
            made = self._latents(sample, mirrored)
            return made, made.nbytes if made else 0

        latents = self._cache.get((sample.id, mirrored), make)
        if latents is None:
            return None
        return Example(sample.id, captioned(sample.caption, self._params.trigger), latents)

    def _latents(self, sample: Sample, mirrored: bool) -> Latents | None:
        try:
            image = decode_image(sample.image).convert("RGB")
        except ReadersBusy:
            raise
        except BadImage:
            return None
        bucket = bucket_of(image.size, self._sizes)
        scaled, (left, top) = fitted(image.size, bucket)
        shown = image.resize(scaled, Image.Resampling.LANCZOS).crop((left, top, left + bucket[0], top + bucket[1]))
        picture = torch.from_numpy(np.array(shown)).permute(2, 0, 1)[None].float() / 127.5 - 1
        mean, std = self._moments(picture.flip(3) if mirrored else picture)
        told = (image.height, image.width, top, left, bucket[1], bucket[0])
        return Latents(mean[0].float().cpu(), std[0].float().cpu(), told)


def captioned(caption: str, trigger: str) -> str:
    """The caption in one line, the trigger before it unless it says it itself, as far as CLIP reads."""
    text = " ".join(caption[:MAX_READ].split())
    if trigger and trigger.lower() not in text.lower():
        text = f"{trigger}, {text}"
    return as_far_as_read(text)


def as_far_as_read(text: str) -> str:
    """Its beginning of at most 75 tokens, as trainings cut it."""
    most = CONTEXT - 2
    if len(encode(text)) <= most:
        return text
    fits, too_much = 0, len(text)
    while too_much - fits > 1:
        middle = (fits + too_much) // 2
        fits, too_much = (middle, too_much) if len(encode(text[:middle])) <= most else (fits, middle)
    return text[:fits].rstrip()
