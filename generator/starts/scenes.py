"""A scene that the embedded models are to draw: drafts of its things, cut out and put together before a background.

The layout draws one thing at a time. So each thing is drawn by itself, coloured if it has another colour than asked
for, and placed by the relation; the picture that comes of it is what an engine begins with. CLIP, which knows
pictures of single things too, is shown each thing by itself; shown the whole, it would make one thing of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
    ) -> tuple[Composition, Targets] | None:
        """The scene that a prompt tells, composed, and the targets with its things looked at one by one; None where it
        tells none. show is given its first picture (3, H, W) in [0, 1] on the CPU; the others as `compose` has them."""
        scene = read_scene(prompt)
        if scene is None:
            return None
        made = self.compose(scene, draw_thing, size, style, generator)
        if show is not None:
            show(made.pictures[0].clamp(0, 1).cpu())
        return made, self.aimed(targets, scene, made)

    def compose(
        self,
        scene: Scene,
        draw_thing: DrawThing,
        size: tuple[int, int],
        style: str | None,
        generator: torch.Generator,
    ) -> Composition:
        """size: (width, height) in px. All draws come from the CPU `generator`."""
        seed, pick = torch.randint(2**31, (2,), generator=generator).tolist()
        style = style or COHERENT[pick % len(COHERENT)]
        drawn = [self._figures(thing, draw_thing, style) for thing in scene.things]
        count = min(len(figures) for figures in drawn)
        plain = style in COLOURLESS
        behind = backdrop(None if plain else scene.place, None if plain else scene.weather, *size, seed)
        behind = behind.to(self.precision.device)
        blank, taken = torch.zeros_like(behind), torch.zeros_like(behind[:1])
        pictures, boxes = [], []
        for number in range(count):
            figures = [_copies(own[number], thing.count) for own, thing in zip(drawn, scene.things, strict=True)]
            group = placed(scene, figures, *size, seed)
            pictures.append(composed(group, behind))
            shapes = [replace(one, figure=one.figure[3:].expand(4, -1, -1)) for one in group]
            taken = taken.maximum(composed(shapes, blank)[:1])
            shares = [
                (left / size[0], top / size[1], wide / size[0], high / size[1])
                for left, top, wide, high in boxes_of(group, len(scene.things))
            ]
            boxes.append(shares)
        if plain or (scene.place is None and scene.weather is None):
            reach = 2 * round(ROOM * min(size)) + 1
            taken = F.max_pool2d((taken > 0.1).float(), reach, 1, reach // 2)
        kept = Kept((behind * 255).round().byte(), (taken * 255).round().byte())
        return Composition(torch.stack(pictures), boxes, style, kept)

    def _figures(self, thing: Thing, draw_thing: DrawThing, style: str) -> list[Tensor]:
        """The thing cut out of every picture drawn of it."""
        prompt = parse_text(as_text(thing.drawn_from))
        targets = prompt_targets(as_text(thing.drawn_from), "", self.clips, no_picture, self.precision)
        pictures = draw_thing(prompt, style, targets)
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

    def aimed(self, targets: Targets, scene: Scene, made: Composition) -> Targets:
        """The targets of a scene's pictures, in which each thing is looked at by itself: where it stands in the
        mean of them, that are composed alike."""
        captions = [as_text(thing.caption) for thing in scene.things]
        own = [prompt_targets(text, "", self.clips, no_picture, self.precision) for text in captions]
        aims = tuple(
            Aim(_mean([boxes[number] for boxes in made.boxes]), [embedding[0] for embedding in one.embeddings])
            for number, one in enumerate(own)
        )
        return replace(targets, aims=aims)


def _mean(boxes: list[tuple[float, float, float, float]]) -> tuple[float, float, float, float]:
    left, top, width, height = (sum(side) / len(boxes) for side in zip(*boxes, strict=True))
    return left, top, width, height


def _copies(figure: Tensor, count: int) -> list[Tensor]:
    """So many of one figure, every other one mirrored."""
    return [mirrored(figure) if number % 2 else figure for number in range(count)]
