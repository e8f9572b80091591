"""Figures: things cut out of a picture with a plain background, to be put together with others.

A figure is (4, h, w) float32 in [0, 1], its colours multiplied by its alpha, no larger than the thing is.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from generator.wording.scene_words import RAMPS

PLAIN = 0.07  # greatest difference in any channel from the paper, of what is still paper
CLEAR = 0.45  # difference from which on nothing of the paper shines through an edge
ISLAND = 0.04  # of the greatest part's area: what is smaller and does not touch it is debris
COLOURED = 0.2  # least difference between the channels of what has a hue
NEAR_HUE, SAME_HUE = 0.64, 0.9  # cosines: of hues that change together, and of such as have one name
LUMA = (0.299, 0.587, 0.114)


def cut_out(picture: Tensor) -> Tensor:
    """The thing in a picture (3, H, W) in [0, 1], without the paper that reaches the picture's edge.

    White that the thing encloses is its own. Of a picture without a plain background, or of one that is empty, all.
    """
    edge = torch.cat([picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1]], dim=1)
    paper = edge.median(dim=1).values[:, None, None]
    differs = (picture - paper).abs().amax(dim=0)
    paperlike = differs < PLAIN
    # Through a gap of a single px in its outline the paper must not flow into a light thing.
    wide = F.max_pool2d((~paperlike).float()[None], 3, 1, 1)[0] == 0
    wide[0], wide[-1], wide[:, 0], wide[:, -1] = (paperlike[0], paperlike[-1], paperlike[:, 0], paperlike[:, -1])
    outside = paperlike & (F.max_pool2d(_reached(wide).float()[None], 3, 1, 1)[0] > 0)
    inside = _without_islands(~outside)
    if not 0.02 < float(inside.float().mean()) < 0.98:
        return torch.cat([picture, torch.ones_like(picture[:1])])
    rim = inside & (F.max_pool2d(outside.float()[None], 3, 1, 1)[0] > 0)
    alpha = torch.where(rim, (differs / CLEAR).clamp(0.1, 1.0), inside.float())
    colour = ((picture - (1 - alpha) * paper).clamp(min=0)).minimum(alpha[None])
    return trimmed(torch.cat([colour, alpha[None]]))


def _reached(free: Tensor) -> Tensor:
    """Which of the free places (H, W) are joined to the edge by such."""
    seeds = torch.zeros_like(free)
    seeds[0], seeds[-1], seeds[:, 0], seeds[:, -1] = free[0], free[-1], free[:, 0], free[:, -1]
    return _grown(seeds, free)


def _grown(seeds: Tensor, free: Tensor) -> Tensor:
    """All free places joined to a seed, by their sides."""
    reached = seeds & free
    while True:
        across = F.max_pool2d(reached.float()[None], (1, 3), 1, (0, 1))[0]
        down = F.max_pool2d(reached.float()[None], (3, 1), 1, (1, 0))[0]
        more = (torch.maximum(across, down) > 0) & free
        if torch.equal(more, reached):
            return reached
        reached = more


def _without_islands(inside: Tensor) -> Tensor:
    """What is inside, (H, W), less the parts that are small beside the greatest."""
    parts, left = [], inside.clone()
    while bool(left.any()):
        seed = torch.zeros_like(left)
        seed.view(-1)[int(left.view(-1).int().argmax())] = True
        part = _grown(seed, left)
        parts.append(part)
        left = left & ~part
    if not parts:
        return inside
    greatest = max(int(part.sum()) for part in parts)
    return torch.stack([part for part in parts if int(part.sum()) >= ISLAND * greatest]).any(dim=0)


def trimmed(figure: Tensor) -> Tensor:
    """Without the rows and columns around it in which there is nothing; a figure that is nothing stays."""
    seen = figure[3] > 0.03
    down, across = (seen.any(dim).nonzero()[:, 0] for dim in (1, 0))
    if not len(down):
        return figure
    return figure[:, int(down[0]) : int(down[-1]) + 1, int(across[0]) : int(across[-1]) + 1]


def head_of(figure: Tensor) -> tuple[float, float, float]:
    """Of who the figure shows: where its topmost part is, (centre, top, width) as shares of the figure's width, height
    and width."""
    alpha = figure[3] > 0.4
    height, width = alpha.shape
    upper = alpha[: max(1, round(0.3 * height))]
    columns = upper.sum(dim=0)
    runs: list[tuple[int, int, int]] = []  # (area, left, right)
    for at, count in enumerate(columns.tolist()):
        if not count:
            continue
        if runs and runs[-1][2] == at:
            runs[-1] = (runs[-1][0] + count, runs[-1][1], at + 1)
        else:
            runs.append((count, at, at + 1))
    if not runs:
        return 0.5, 0.0, 1.0
    _, left, right = max(runs)
    top = int(upper[:, left:right].any(dim=1).int().argmax())
    return (left + right) / 2 / width, top / height, (right - left) / width


def recoloured(figure: Tensor, colour: str) -> Tensor:
    """The figure in another colour: what has the hue that most of it has, or all of it where it is grey.

    What is left as it is are its other hues, its black and its white, so that a car keeps its wheels.
    """
    dark, plain, bright = (figure.new_tensor(stop)[:, None, None] / 255 for stop in RAMPS[colour])
    colours = figure[:3] / figure[3:].clamp(min=1e-4)
    light = (colours * figure.new_tensor(LUMA)[:, None, None]).sum(dim=0)
    solid = figure[3] > 0.5
    strong = colours.amax(dim=0) - colours.amin(dim=0)
    angle = hue_of(colours)
    coloured = solid & (strong > COLOURED)
    changed = torch.ones_like(solid)
    if float(coloured.sum()) > 0.3 * float(solid.sum()):
        middle = torch.atan2((angle.sin() * strong)[coloured].sum(), (angle.cos() * strong)[coloured].sum())
        changed = (strong > COLOURED / 2) & ((angle - middle).cos() > NEAR_HUE)
    seen = light[changed & solid]
    if not len(seen):
        return figure
    low, centre, high = (float(torch.quantile(seen, share)) for share in (0.03, 0.5, 0.97))
    at = (0.5 + (light - centre) / max(high - low, 0.35)).clamp(0, 1)[None]
    made = torch.where(at < 0.5, dark + (plain - dark) * at * 2, plain + (bright - plain) * (at * 2 - 1))
    return torch.cat([torch.where(changed, made, colours) * figure[3:], figure[3:]])


def hue_of(colours: Tensor) -> Tensor:
    """sRGB (3, ...) -> the angle of the hue in radians, red at 0 and green at a third of the circle."""
    red, green, blue = colours
    return torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue)


def has_colour(figure: Tensor, colour: str) -> bool:
    """Whether a good part of the figure is of that colour already."""
    return colour_share((figure[:3] / figure[3:].clamp(min=1e-4))[:, figure[3] > 0.5], colour) > 0.35


def colour_share(colours: Tensor, colour: str) -> float:
    """How much of some places (3, N) has the hue of a colour, or is as grey and as light as it."""
    plain = colours.new_tensor(RAMPS[colour][1])[:, None] / 255
    strength = colours.amax(dim=0) - colours.amin(dim=0)
    if float(plain.max() - plain.min()) > COLOURED:
        alike = (strength > COLOURED) & ((hue_of(colours) - hue_of(plain)).cos() > SAME_HUE)
        alike &= (colours.amax(dim=0) - plain.amax()).abs() < 0.45  # brown is a dark orange
    else:
        alike = (strength < COLOURED) & ((colours.mean(dim=0) - plain.mean()).abs() < 0.25)
    return float(alike.float().mean()) if alike.numel() else 0.0


def dark_part(figure: Tensor) -> Tensor:
    """Of a figure what is dark, as glasses are on the face that is drawn with them; all of it where little is."""
    colours = figure[:3] / figure[3:].clamp(min=1e-4)
    dark = ((colours * figure.new_tensor(LUMA)[:, None, None]).sum(dim=0) < 0.45) & (figure[3] > 0.5)
    if float(dark.float().mean()) < 0.03:
        return figure
    seen = F.max_pool2d(_without_islands(dark).float()[None], 3, 1, 1)
    return trimmed(figure * seen)


def scaled(figure: Tensor, width: int, height: int) -> Tensor:
    """Resampled to width x height px."""
    size = (max(1, height), max(1, width))
    return F.interpolate(figure[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)


def laid(canvas: Tensor, figure: Tensor, left: int, top: int) -> Tensor:
    """A figure laid over the canvas, a picture (3, H, W) or a figure (4, H, W), which it may reach beyond."""
    height, width = canvas.shape[1:]
    x, y = max(left, 0), max(top, 0)
    right, bottom = min(left + figure.shape[2], width), min(top + figure.shape[1], height)
    if right <= x or bottom <= y:
        return canvas
    seen = figure[:, y - top : bottom - top, x - left : right - left]
    made = canvas.clone()
    made[:, y:bottom, x:right] = seen[: len(made)] + (1 - seen[3:]) * made[:, y:bottom, x:right]
    return made
