"""A scene that the embedded models are to draw: drafts of its things, cut out and put together before a background.
In a picture of which a part is drawn anew, one thing or a scene is put into that part in the same way.

The layout draws one thing at a time. So each thing is drawn by itself, coloured if it has another colour than asked
for, and placed by the relation; the picture that comes of it is what an engine begins with. CLIP, which knows
pictures of single things too, is shown each thing by itself; shown the whole, it would make one thing of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isclose

import torch
from torch import Tensor
from torch.nn import functional as F

from generator.guidance.targets import Aim, Targets, prompt_targets
from generator.images.convert import no_picture
from generator.models.contracts import Clip
from generator.models.finisher import Finisher
from generator.precision import Precision
from generator.prompts import Prompt, as_text, parse_text
from generator.starts.backdrops import backdrop
from generator.starts.figures import cut_out, dark_part, has_colour, recoloured
from generator.starts.masks import Kept
from generator.starts.placing import boxes_of, composed, mirrored, placed
from generator.wording.scene_words import COLOURLESS
from generator.wording.scenes import Scene, Thing, read_scene

COHERENT = ("noto", "twemoji", "fluent", "3d")  # where no style was asked for, all things are drawn in one of these
ROOM = 0.03  # around things on white paper, in the picture's shorter side, that is theirs to be drawn in

# A thing's caption, its style, what CLIP is told of it -> pictures of it (N, 3, h, w) in [0, 1], the best first.
DrawThing = Callable[[Prompt, str, Targets], Tensor]


@dataclass(frozen=True)
class Composition:
    """pictures: (N, 3, H, W) in [0, 1], that many compositions; boxes: per picture and thing, in shares of its sides;
    style: in which they are drawn; kept: the background, of which an engine draws nothing anew."""

    pictures: Tensor
    boxes: list[list[tuple[float, float, float, float]]]
    style: str
    kept: Kept


@dataclass(frozen=True)
class Wanted:
    """One thing that is to be drawn. drawn: what the prior is told; ranked: what picks among its drafts; aim: what CLIP
    is told of it where it stands, per CLIP (D,)."""

    thing: Thing
    drawn: Prompt
    ranked: Targets
    aim: list[Tensor]


@dataclass(frozen=True)
class Composer:
    """Draws scenes thing by thing, with what is needed for it on one device."""

    finisher: Finisher
    clips: Sequence[Clip]
    precision: Precision

    def begin(
        self,
        prompt: Prompt,
        targets: Targets,
        draw_thing: DrawThing,
        size: tuple[int, int],
        style: str | None,
        generator: torch.Generator,
        show: Callable[[Tensor], None] | None = None,
        kept: Kept | None = None,
    ) -> tuple[Composition, Targets] | None:
        """The scene that a prompt tells, composed, and the targets with its things looked at one by one; None where it
        tells none. show is given its first picture (3, H, W) in [0, 1] on the CPU; the others as `compose` has them.

        kept: a picture of that size; what a prompt tells, be it one thing, is put where that is drawn anew.
        """
        scene = read_scene(prompt)
        if scene is not None:
            wanted = self.wanted(scene)
        elif kept is not None:
            scene = Scene((Thing("", ""),))
            row = next(row for row, weight in enumerate(targets.weights.tolist()) if isclose(weight, prompt.weight))
            wanted = [Wanted(scene.things[0], prompt, targets.only(row), [own[row] for own in targets.embeddings])]
        else:
            return None
        made = self.compose(scene, wanted, draw_thing, size, style, generator, kept)
        if show is not None:
            show(made.pictures[0].clamp(0, 1).cpu())
        return made, _aimed(targets, wanted, made)

    def wanted(self, scene: Scene) -> list[Wanted]:
        """The things of a scene, each told by itself."""
        found = []
        for thing in scene.things:
            ranked, aim = (
                prompt_targets(as_text(text), "", self.clips, no_picture, self.precision)
                for text in (thing.drawn_from, thing.caption)
            )
            found.append(
                Wanted(thing, parse_text(as_text(thing.drawn_from)), ranked, [own[0] for own in aim.embeddings])
            )
        return found

    def compose(
        self,
        scene: Scene,
        wanted: Sequence[Wanted],
        draw_thing: DrawThing,
        size: tuple[int, int],
        style: str | None,
        generator: torch.Generator,
        kept: Kept | None = None,
    ) -> Composition:
        """size: (width, height) in px. All draws come from the CPU `generator`. kept: as `begin`."""
        seed, pick = torch.randint(2**31, (2,), generator=generator).tolist()
        style = style or COHERENT[pick % len(COHERENT)]
        drawn = [self._figures(one, draw_thing, style) for one in wanted]
        if kept is not None or style in COLOURLESS:
            scene = replace(scene, place=None, weather=None)
        behind = backdrop(scene.place, scene.weather, *size, seed) if kept is None else kept.filled
        behind = behind.to(self.precision.device)
        top, left, height, width = (0, 0, size[1], size[0]) if kept is None else kept.room
        blank, taken = torch.zeros_like(behind), torch.zeros_like(behind[:1])
        pictures, boxes = [], []
        for number in range(min(len(figures) for figures in drawn)):
            figures = [_copies(own[number], thing.count) for own, thing in zip(drawn, scene.things, strict=True)]
            group = [one.moved(1.0, left, top) for one in placed(scene, figures, width, height, seed)]
            picture = composed(group, behind)
            pictures.append(picture if kept is None else kept.over(picture))
            shapes = [replace(one, figure=one.figure[3:].expand(4, -1, -1)) for one in group]
            taken = taken.maximum(composed(shapes, blank)[:1])
            stands = boxes_of(group, len(scene.things))
            boxes.append([(x / size[0], y / size[1], w / size[0], h / size[1]) for x, y, w, h in stands])
        if kept is not None:
            taken = taken.minimum(kept.mask / 255)
        elif scene.place is None and scene.weather is None:
            reach = 2 * round(ROOM * min(size)) + 1
            taken = F.max_pool2d((taken > 0.1).float(), reach, 1, reach // 2)
        background = Kept((behind * 255).round().byte(), (taken * 255).round().byte())
        return Composition(torch.stack(pictures), boxes, style, background)

    def _figures(self, wanted: Wanted, draw_thing: DrawThing, style: str) -> list[Tensor]:
        """The thing cut out of every picture drawn of it."""
        pictures, thing = draw_thing(wanted.drawn, style, wanted.ranked), wanted.thing
        number = torch.tensor([self.finisher.style_index(style)], device=pictures.device)
        figures = []
        for picture in pictures:  # one at a time, so that none depends on how many there are
            figure = cut_out(self.finisher(picture[None], number)[0].clamp(0, 1))
            if thing.worn_on == "eyes":
                figure = dark_part(figure)
            if thing.colour and style not in COLOURLESS and not has_colour(figure, thing.colour):
                figure = recoloured(figure, thing.colour)
            figures.append(figure)
        return figures


def _aimed(targets: Targets, wanted: Sequence[Wanted], made: Composition) -> Targets:
    """The targets of a scene's pictures, in which each thing is looked at by itself: where it stands in the mean of
    them, that are composed alike."""
    boxes = [_mean([own[number] for own in made.boxes]) for number in range(len(wanted))]
    return replace(targets, aims=tuple(Aim(box, one.aim) for box, one in zip(boxes, wanted, strict=True)))


def _mean(boxes: list[tuple[float, float, float, float]]) -> tuple[float, float, float, float]:
    left, top, width, height = (sum(side) / len(boxes) for side in zip(*boxes, strict=True))
    return left, top, width, height


def _copies(figure: Tensor, count: int) -> list[Tensor]:
    """So many of one figure, every other one mirrored."""
    return [mirrored(figure) if number % 2 else figure for number in range(count)]
