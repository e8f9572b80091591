"""Where the things of a scene stand: boxes by relation, number and size, and who covers whom.

The same for drafts that the embedded models start from and for the scenes they are trained on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from generator.starts.figures import head_of, laid, scaled
from generator.wording.scenes import Scene, Thing

MARGIN = 0.05  # of the picture, on each side
GROUND = 0.9  # of the picture's height, where things stand that have ground under them
ROWS = {2: (2,), 3: (1, 2), 4: (2, 2), 5: (2, 3), 6: (3, 3), 7: (2, 3, 2), 8: (3, 2, 3), 9: (3, 3, 3)}
STANDING = ("grass", "moon", "city", "forest", "desert", "beach", "snow", "mountains", "table", "sea", "sunset")


@dataclass(frozen=True)
class Placed:
    """One figure in a scene. thing: its number; box: left, top, width, height, in any unit."""

    thing: int
    figure: Tensor
    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def moved(self, scale: float, across: float, down: float) -> Placed:
        """Scaled about the origin, then moved."""
        return replace(
            self,
            left=self.left * scale + across,
            top=self.top * scale + down,
            width=self.width * scale,
            height=self.height * scale,
        )


Group = list[Placed]  # from back to front


def bounds(group: Group) -> tuple[float, float, float, float]:
    """Left, top, width and height of all of it."""
    left, top = min(one.left for one in group), min(one.top for one in group)
    return left, top, max(one.right for one in group) - left, max(one.bottom for one in group) - top


def placed(scene: Scene, figures: list[list[Tensor]], width: int, height: int, seed: int) -> Group:
    """Every figure of every thing (`count` of each) in a picture of width x height px, from back to front."""
    draw = random.Random(seed)
    groups = [_counted(number, own, draw) for number, own in enumerate(figures)]
    sized = [_moved(group, thing.size, 0, 0) for group, thing in zip(groups, scene.things, strict=True)]
    whole = sized[0]
    for relation, thing, group in zip(scene.relations, scene.things[1:], sized[1:], strict=True):
        whole = _joined(whole, group, relation, thing, draw)
    left, top, wide, high = bounds(whole)
    roomy = scene.place is not None and len(whole) == 1
    free = 1 - 2 * (MARGIN if not roomy else 0.14)
    scale = min(free * width / wide, free * height / high)
    across = (width - wide * scale) / 2 - left * scale
    down = (height - high * scale) / 2 - top * scale
    if scene.place in STANDING:
        down = min(GROUND * height, (height + high * scale) / 2 + 0.2 * height) - (top + high) * scale
    return _moved(whole, scale, across, down)


def _moved(group: Group, scale: float, across: float, down: float) -> Group:
    return [one.moved(scale, across, down) for one in group]


def _single(thing: int, figure: Tensor) -> Placed:
    """At its own proportions, in a square of side 1."""
    height, width = figure.shape[1:]
    longer = max(height, width)
    return Placed(thing, figure, 0.0, 0.0, width / longer, height / longer)


def _counted(thing: int, figures: list[Tensor], draw: random.Random) -> Group:
    """So many in rows, the lower rows in front, in a square of side about 1."""
    if len(figures) == 1:
        return [_single(thing, figures[0])]
    made: Group = []
    rows, at = ROWS[len(figures)], 0
    singles = [_single(thing, figure) for figure in figures]
    wide, high = max(one.width for one in singles), max(one.height for one in singles)
    pitch = 1.04
    for row, count in enumerate(rows):
        for column in range(count):
            one = singles[at]
            left = (column - (count - 1) / 2) * pitch * wide - one.width / 2 + draw.uniform(-0.02, 0.02)
            made.append(one.moved(1.0, left, row * pitch * high + high - one.height))
            at += 1
    _, _, width, height = bounds(made)
    return _moved(made, 1.25 / max(width, height), 0, 0)


def _joined(first: Group, second: Group, relation: str, thing: Thing, draw: random.Random) -> Group:
    """Two groups in a relation: the second is scaled and moved to where it stands to the first."""
    left, top, wide, high = bounds(first)
    _, _, own_wide, own_high = bounds(second)
    side = draw.choice((-1, 1))

    def put(scale: float, centre: float, bottom: float) -> Group:
        """The second, so much scaled, the middle of its foot there."""
        x, y, w, h = bounds(second)
        return _moved(second, scale, centre - (x + w / 2) * scale, bottom - (y + h) * scale)

    middle, foot = left + wide / 2, top + high
    if relation == "wearing":
        return _worn(first, second, thing)
    if relation == "holding":
        scale = 0.62 * max(wide, high) / max(own_wide, own_high) * thing.size
        reach = middle + side * (0.5 * wide + 0.26 * own_wide * scale)
        return first + put(scale, reach, top + 0.62 * high + own_high * scale / 2)
    if relation == "riding":
        scale = 1.3 * max(wide, high) / max(own_wide, own_high)
        return _touching(first, put(scale, middle, foot + own_high * scale), 0.22) + first
    if relation == "on":
        scale = min(1.25 * wide / own_wide, 1.2 * high / own_high)
        return _touching(first, put(scale, middle, foot + own_high * scale), 0.06) + first
    if relation == "in":
        scale = 1.25 * max(wide, high) / max(own_wide, own_high)
        return first + put(scale, middle, foot - 0.42 * high + own_high * scale)
    if relation == "under":
        scale = 1.35 * max(wide, high) / max(own_wide, own_high)
        sunk = 0.45 if own_high >= own_wide * 0.8 else 0.1
        return put(scale, middle, top + sunk * own_high * scale) + first
    if relation == "above":
        scale = max(wide, high) / max(own_wide, own_high)
        return put(scale, middle, foot + 1.08 * own_high * scale) + first
    if relation == "behind":
        scale = 0.85 * max(wide, high) / max(own_wide, own_high)
        return first + put(scale, middle + side * 0.42 * wide, foot + 0.3 * own_high * scale)
    if relation == "in front of":
        scale = 1.15 * max(wide, high) / max(own_wide, own_high)
        return put(scale, middle + side * 0.42 * own_wide * scale, foot - 0.12 * high) + first
    scale = thing.size * min(1.15, max(wide, high) / max(own_wide, own_high))
    return first + put(scale, left + wide + 0.02 + 0.5 * own_wide * scale, foot)


def _touching(above: Group, below: Group, sunk: float) -> Group:
    """What is below, raised until what is above rests on it, and sinks in by that share of its own height.

    A lamp beside the sofa does not count: of the gaps it is not the least that closes.
    """
    left, _, wide, high = bounds(above)
    gaps = []
    for step in range(1, 8):
        x = left + wide * step / 8
        feet = [one.top + one.height * end for one in above if (end := _end(one, x, last=True)) is not None]
        tops = [one.top + one.height * end for one in below if (end := _end(one, x, last=False)) is not None]
        if feet and tops:
            gaps.append(min(tops) - max(feet))
    return _moved(below, 1.0, 0.0, -(sorted(gaps)[len(gaps) // 3] if gaps else 0.0) - sunk * high)


def _end(one: Placed, x: float, last: bool) -> float | None:
    """Where, as a share of its height, the figure begins or ends above that place; None where there is none of it."""
    column = int((x - one.left) / one.width * one.figure.shape[2])
    if not 0 <= column < one.figure.shape[2]:
        return None
    seen = (one.figure[3, :, column] > 0.4).nonzero()[:, 0]
    if not len(seen):
        return None
    return (int(seen[-1]) + 1 if last else int(seen[0])) / one.figure.shape[1]


def _worn(first: Group, second: Group, thing: Thing) -> Group:
    """On whoever stands in front: each of the first may wear one."""
    made = list(first)
    own = max(first, key=lambda one: one.width * one.height)
    centre, top, head = head_of(own.figure)
    middle, crown = own.left + centre * own.width, own.top + top * own.height
    head = head * own.width
    _, _, wide, high = bounds(second)
    span, down = {  # of the head's width: how wide it is, and how far its middle, or its foot, is below the crown
        "head": (0.85, 0.22),
        "eyes": (0.82, 0.42),
        "ears": (1.12, 0.38),
        "neck": (0.7, 0.95),
        "body": (0.95, 1.35),
        "feet": (0.8, 0.0),
    }[thing.worn_on or "neck"]
    scale = span * head / wide
    foot = crown + down * head
    if thing.worn_on == "feet":
        middle, foot = own.left + own.width / 2, own.bottom + 0.3 * high * scale
    elif thing.worn_on != "head":
        foot = min(foot, own.bottom) + high * scale / 2
    x, y, w, h = bounds(second)
    return made + _moved(second, scale, middle - (x + w / 2) * scale, foot - (y + h) * scale)


def composed(group: Group, backdrop: Tensor) -> Tensor:
    """The figures on a background (3, H, W) in [0, 1]: the picture; on an empty figure (4, H, W): one figure of all."""
    made = backdrop
    for one in group:
        figure = scaled(one.figure, round(one.width), round(one.height))
        made = laid(made, figure, round(one.left), round(one.top))
    return made.clamp(0, 1)


def boxes_of(group: Group, count: int) -> list[tuple[float, float, float, float]]:
    """Of each of `count` things: left, top, width, height of all its figures, in px."""
    return [bounds([one for one in group if one.thing == thing]) for thing in range(count)]


def mirrored(figure: Tensor) -> Tensor:
    """The figure as a mirror shows it."""
    return torch.flip(figure, (2,))
