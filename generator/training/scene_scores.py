"""How pictures of scenes are scored: is every thing to be seen, where it should be, and in its own colour.

The judge, a CLIP that guides nothing, looks at the picture and at crops of it. A thing is seen if among all nouns of
the held-out scenes it is one of the first FIRST by the crop that shows it best; that crop is where it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from generator.models.clip import ClipModel
from generator.starts.figures import colour_share
from generator.training.scenes import held_out
from generator.training.scores import seen_by
from generator.wording.scenes import Scene, read_scene, with_article

FIRST = 5
COUNT = 60  # compositions of two things, the first of the list, that engines are measured by
STYLES = ("noto", "twemoji", "fluent", "3d")  # in which they are drawn, in turn
WINDOWS = ((1.0, 1), (0.75, 3), (0.55, 4), (0.42, 5))  # side in that of the picture, and how many across and down
SHARPNESS = 30.0  # of the shares that a crop's likenesses become: one over the temperature
PRESENT = 0.15  # share of what is around a thing's place, from which on a colour is to be seen there


@dataclass(frozen=True)
class Seen:
    """What was seen in one picture: each thing's rank among all nouns (0 the first) and where, (x, y) of the middle of
    its best crops in shares of the picture; whether the relation and the colours are right, None where none was
    asked."""

    ranks: tuple[int, ...]
    places: tuple[tuple[float, float], ...]
    relation: bool
    colours: bool | None

    @property
    def both(self) -> bool:
        return all(rank < FIRST for rank in self.ranks)


def told(count: int = COUNT) -> list[tuple[str, Scene]]:
    """The first so many captions that training never shows, with what they tell."""
    read = [(caption, read_scene(caption)) for caption in held_out()[:count]]
    return [(caption, scene) for caption, scene in read if scene is not None]


def figures(seen: Sequence[Seen]) -> dict[str, float]:
    """Shares in [0, 1] of what was seen: `each` thing, `both`, their `relation`, and the `colours` where any were asked
    for, which is left out where none were; and how many `pictures` were looked at."""
    coloured = [one.colours for one in seen if one.colours is not None]
    shares = {
        "each": [rank < FIRST for one in seen for rank in one.ranks],
        "both": [one.both for one in seen],
        "relation": [one.relation for one in seen],
        "colours": coloured,
    }
    return {name: sum(values) / len(values) for name, values in shares.items() if values} | {"pictures": len(seen)}


class SceneJudge:
    """The judge with the nouns of all held-out scenes."""

    def __init__(self, judge: ClipModel) -> None:
        self.judge = judge
        things = [thing for scene in map(read_scene, held_out()) if scene for thing in scene.things]
        self.nouns = sorted({thing.noun for thing in things})
        names = {noun: {noun} | {thing.name for thing in things if thing.noun == noun} for noun in self.nouns}
        self._texts = [with_article(name) for noun in self.nouns for name in sorted(names[noun])]
        self._own = torch.tensor([number for number, noun in enumerate(self.nouns) for _ in names[noun]])
        with torch.no_grad():
            self._vectors = judge.encode_text(self._texts).float()

    @torch.no_grad()
    def look(self, scene: Scene, picture: Tensor) -> Seen:
        """picture: (3, H, W) in [0, 1]."""
        boxes = windows()
        vectors, _ = seen_by(self.judge, crops(picture, boxes, self.judge.resolution))
        likeness = vectors @ self._vectors.T
        by_noun = torch.stack(
            [likeness[:, self._own == number].amax(dim=1) for number in range(len(self.nouns))], dim=1
        )
        for thing in scene.things:
            if thing.colour:  # a blue peach is to be found as a blue peach
                asked = self.judge.encode_text([thing.caption, with_article(f"{thing.colour} {thing.noun}")]).float()
                own = self.nouns.index(thing.noun)
                by_noun[:, own] = by_noun[:, own].maximum((vectors @ asked.T).amax(dim=1))
        shares = (SHARPNESS * by_noun).softmax(dim=1)
        best = shares.max(dim=0)
        order = best.values.argsort(descending=True).tolist()
        numbers = [self.nouns.index(thing.noun) for thing in scene.things]
        ranks = tuple(order.index(number) for number in numbers)
        # Where: the middle of the crops that show it, as much of each as its share is of the best.
        weight = (shares[:, numbers] / best.values[numbers]).pow(4)
        middles = torch.tensor([(x + side / 2, y + side / 2) for x, y, side in boxes])
        where = (weight.T @ middles) / weight.sum(dim=0)[:, None]
        places = tuple((float(x), float(y)) for x, y in where)
        both = all(rank < FIRST for rank in ranks)
        right = both and (not scene.relations or related(scene.relations[0], places[0], places[1]))
        asked_colours = [
            rank < FIRST and bound(picture, thing.colour, places[number], [p for p in places if p != places[number]])
            for number, (thing, rank) in enumerate(zip(scene.things, ranks, strict=True))
            if thing.colour
        ]
        return Seen(ranks, places, right, all(asked_colours) if asked_colours else None)


def bound(
    picture: Tensor, colour: str, place: tuple[float, float], others: Sequence[tuple[float, float]], side: float = 0.36
) -> bool:
    """Whether around one place (x, y) of a picture a colour is to be seen, and more of it than around the others."""

    def share(at: tuple[float, float]) -> float:
        whole = picture.shape[1]
        left, top = (max(0, min(round((one - side / 2) * whole), whole - 1)) for one in at)
        size = round(side * whole)
        return colour_share(picture[:, top : top + size, left : left + size].flatten(1), colour)

    own = share(place)
    return own > PRESENT and all(own > share(other) for other in others)


def related(relation: str, first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether two things at (x, y), y downwards, stand in a relation as far as their middles tell."""
    across, down = second[0] - first[0], second[1] - first[1]
    if relation in ("on", "riding", "above", "in"):
        return down > 0.02 and down > 0.5 * abs(across)
    if relation in ("under",):
        return down < -0.02 and -down > 0.5 * abs(across)
    if relation == "wearing":
        return down < 0.08 and abs(across) < 0.25
    if relation in ("next to", "holding"):
        return abs(across) > 0.03 and abs(across) > abs(down)
    return abs(across) + abs(down) > 0.05  # behind and in front of: beside one another in the plane


def windows() -> list[tuple[float, float, float]]:
    """Left, top and side of every crop, in shares of the picture."""
    return [
        (x * (1 - side) / max(1, count - 1), y * (1 - side) / max(1, count - 1), side)
        for side, count in WINDOWS
        for y in range(count)
        for x in range(count)
    ]


def crops(picture: Tensor, boxes: list[tuple[float, float, float]], resolution: int) -> Tensor:
    """A square picture (3, H, W) -> its crops (N, 3, resolution, resolution)."""
    whole = picture.shape[1]
    made = []
    for x, y, side in boxes:
        size = max(2, round(side * whole))
        left, top = (min(round(at * whole), whole - size) for at in (x, y))
        part = picture[None, :, top : top + size, left : left + size]
        made.append(F.interpolate(part, (resolution, resolution), mode="bilinear", antialias=True)[0])
    return torch.stack(made)
