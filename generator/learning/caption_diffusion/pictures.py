"""Batches of a stream: captions, and pictures decoded to the size that is learnt, read ahead of what is trained on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from generator.images.convert import cover
from generator.images.decode import BadImage, ReadersBusy, decode_image
from generator.learning.stream.samples import CaptionStream, DataProblem, Sample

KEPT_BYTES = 512 << 20  # of decoded pictures, so that an epoch is decoded once where it fits
MAX_UNREADABLE = 256  # pictures one after the other


@dataclass(frozen=True)
class Batch:
    """captions: of each picture; pictures: (B, 3, S, S) uint8; position: in the stream, after the last of them."""

    captions: tuple[str, ...]
    pictures: Tensor
    position: int


class Decoder:
    """Pictures of samples as (3, S, S) uint8, centre-cropped, transparency on white; those seen last are kept."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._most = KEPT_BYTES // (3 * size * size)

    def __call__(self, sample: Sample) -> Tensor | None:
        """None for a file that is no picture."""
        if (known := self._kept.get(sample.id)) is not None:
            return known
        try:
            image = cover(decode_image(sample.image, max_side=4 * self.size), self.size, self.size)
        except ReadersBusy:
            raise
        except BadImage:
            return None
        picture = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
        self._kept[sample.id] = picture
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return picture


class Batches:
    """The training pictures of a stream from a position on, a batch ahead of who asks."""

    def __init__(self, stream: CaptionStream, decoder: Decoder, count: int, position: int, seed: int) -> None:
        self._decode, self._count, self._position, self._name = decoder, count, position, stream.name
        self._samples = stream.samples("train", start=position, seed=seed)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._next: Future[Batch] = self._pool.submit(self._read)

    def __next__(self) -> Batch:
        """Raises DataProblem."""
        batch = self._next.result()
        self._next = self._pool.submit(self._read)
        return batch

    def close(self) -> None:
        """Wait for what is being read, and let go."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _read(self) -> Batch:
        captions: list[str] = []
        pictures: list[Tensor] = []
        unreadable = 0
        for sample in self._samples:
            self._position += 1
            if (picture := self._decode(sample)) is None:
                unreadable += 1
                if unreadable > MAX_UNREADABLE:
                    raise DataProblem(f"{self._name}: {unreadable} files one after the other are no pictures.")
                continue
            unreadable = 0
            captions.append(sample.caption)
            pictures.append(picture)
            if len(pictures) == self._count:
                return Batch(tuple(captions), torch.stack(pictures), self._position)
        raise DataProblem(f"{self._name} ended before the run did; there is nothing more to learn from.")


def validation_batch(stream: CaptionStream, decoder: Decoder, most: int) -> Batch:
    """The first pictures that are kept from training, at most so many; a batch of none where none are."""
    captions: list[str] = []
    pictures: list[Tensor] = []
    for sample in islice(stream.samples("validation"), 2 * most):
        if len(pictures) < most and (picture := decoder(sample)) is not None:
            captions.append(sample.caption)
            pictures.append(picture)
    size = decoder.size
    return Batch(tuple(captions), torch.stack(pictures) if pictures else torch.zeros(0, 3, size, size), 0)


def first_epoch(samples: Iterator[Sample], most: int) -> Sequence[str]:
    """The captions of the first epoch, at most so many: it is over where an id comes again."""
    seen: set[str] = set()
    captions = []
    for sample in islice(samples, most):
        if sample.id in seen:
            break
        seen.add(sample.id)
        captions.append(sample.caption)
    return captions
