"""Sizes pictures are shown in: about as many px for all, each near its own shape (NovelAI's aspect ratio bucketing)."""

from __future__ import annotations

from math import log


def buckets(resolution: int, step: int, max_ratio: float) -> tuple[tuple[int, int], ...]:
    """(width, height) in px, multiples of `step`, at most resolution^2 px, sides at most 1 : max_ratio."""
    area, found = resolution * resolution, {(resolution, resolution)}
    for width in range(step, int(resolution * max_ratio**0.5) + 1, step):
        height = area // width // step * step
        if height and max(width, height) <= max_ratio * min(width, height):
            found |= {(width, height), (height, width)}
    return tuple(sorted(found))


def bucket_of(size: tuple[int, int], sizes: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """The one nearest in shape to a picture of this size; of two, the one with more px."""
    ratio = size[0] / size[1]
    return min(sizes, key=lambda one: (round(abs(log(one[0] / one[1] / ratio)), 9), -one[0] * one[1]))


def fitted(size: tuple[int, int], bucket: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """How large a picture becomes, (width, height), and where what is shown of it begins, (left, top), both in px."""
    scale = max(bucket[0] / size[0], bucket[1] / size[1])
    scaled = max(bucket[0], round(size[0] * scale)), max(bucket[1], round(size[1] * scale))
    return scaled, ((scaled[0] - bucket[0]) // 2, (scaled[1] - bucket[1]) // 2)
