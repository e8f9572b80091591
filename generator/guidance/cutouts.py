"""Cutouts of a picture as CLIP sees them: crop, flip, affine and perspective in ONE batched resampling.

Crop sides follow the VQGAN+CLIP notebook (Crowson 2021). All geometry of a cutout is one homography, all colour one
3 x 4 matrix. The numbers are drawn per picture on the CPU from the picture's own generator, so they depend neither on
the device nor on which other pictures share the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from generator.params import Cutouts
from generator.params.scheduled_cuts import Cuts
from generator.transfer import to_device

# Strength 1, between the two reference settings: greatest angle, shift (share of the crop), shear, perspective, colour.
TURN = math.radians(15)
SHIFT = 0.1
SHEAR = math.radians(5)
PERSPECTIVE = 0.15
COLOUR = 0.1
HUE = math.radians(18)
CHANCE_AFFINE, CHANCE_PERSPECTIVE, CHANCE_COLOUR, CHANCE_SHARPNESS = 0.7, 0.5, 0.7, 0.4
AROUND = (1.0, 1.3)  # side of a cutout of one thing, in that thing's longer side
CHANCE_GREY = 0.1  # of scheduled cutouts
LUMA = (0.299, 0.587, 0.114)
DRAWS = 24  # uniform numbers per cutout; a fixed count keeps the stream the same whatever is switched on


@dataclass(frozen=True)
class Plan:
    """The cutouts of one picture at one step, all on the CPU.

    geometry: (cutn, 3, 3) from cutout coordinates [-1, 1] to px of the picture; level: (cutn,) of the mip pyramid;
    colour: (cutn, 3, 4); sharpness: (cutn,) -1 blurred, 0 as is; noise: (cutn,) standard deviation;
    field: (3, R, R) normal noise; shifts: (cutn, 2) where each cutout starts in it; aim: (cutn,) the number from 1 on
    of the thing that a cutout shows by itself, 0 for one of the whole picture.
    """

    geometry: Tensor
    level: Tensor
    colour: Tensor
    sharpness: Tensor
    noise: Tensor
    field: Tensor
    shifts: Tensor
    aim: Tensor

    def __len__(self) -> int:
        return len(self.level)


def draw(
    params: Cutouts,
    width: int,
    height: int,
    side: int,
    generator: torch.Generator,
    looked_at: Sequence[tuple[int, tuple[float, float, float, float]]] = (),
) -> Plan:
    """Random cutouts of a width x height px picture for a CLIP that sees side x side px.

    looked_at: what the cutouts of a scene show in turns: a thing's number from 1 on, or 0 for the whole, and its left,
    top, width and height in shares of the picture.
    """
    cutn = params.cutn
    u = torch.rand(cutn, DRAWS, generator=generator, dtype=torch.float64)
    field = torch.randn(3, side, side, generator=generator)
    shifts = torch.randint(side, (cutn, 2), generator=generator)
    largest = min(width, height)
    smallest = min(largest, side)
    if params.cut_sizes == "normal":  # as Big Sleep: the bounds lie so near that nearly half of all draws reach one
        share = 0.8 + 0.3 * math.sqrt(2) * torch.erfinv(2 * u[:, 0] - 1)
        crop = (largest * share.clamp(0.5, 0.95)).floor().clamp(min=1)
    else:
        crop = (u[:, 0] ** params.cut_pow * (largest - smallest) + smallest).floor()
    left, top = ((width - crop + 1) * u[:, 1]).floor(), ((height - crop + 1) * u[:, 2]).floor()
    if not looked_at:
        return _plan(params, u, crop, left, top, side, field, shifts)
    turns = torch.arange(cutn) % len(looked_at)
    aim = torch.tensor([number for number, _ in looked_at])[turns]
    box = torch.tensor([box for _, box in looked_at], dtype=torch.float64)[turns] * torch.tensor([width, height] * 2)
    # A thing with some room around it, not quite in the middle; the whole as wide as it is.
    room = torch.where(aim > 0, AROUND[0] + (AROUND[1] - AROUND[0]) * u[:, 0], 1.0)
    crop = box[:, 2:].amax(dim=1) * room
    left, top = (
        box[:, n] + box[:, 2 + n] / 2 - crop / 2 + (u[:, 1 + n] - 0.5) * (room - 0.9).clamp(min=0) * crop
        for n in range(2)
    )
    return replace(_plan(params, u, crop, left, top, side, field, shifts), aim=aim)


def draw_scheduled(params: Cutouts, cuts: Cuts, width: int, height: int, side: int, generator: torch.Generator) -> Plan:
    """Cutouts after Disco Diffusion: first those of the whole picture, then those inside it.

    An overview sees the picture in a square as wide as its longer side, the edge going on where it is shorter. Of up
    to four overviews the second is grey, the third mirrored and the fourth both.
    """
    count = cuts.overview + cuts.inner
    u = torch.rand(count, DRAWS, generator=generator, dtype=torch.float64)
    field = torch.randn(3, side, side, generator=generator)
    shifts = torch.randint(side, (count, 2), generator=generator)
    shorter, longer = min(width, height), max(width, height)
    smallest = min(shorter, side)
    crop = (u[:, 0] ** cuts.power * (shorter - smallest) + smallest).floor()
    left, top = ((width - crop + 1) * u[:, 1]).floor(), ((height - crop + 1) * u[:, 2]).floor()
    whole = slice(0, cuts.overview)
    crop[whole], left[whole], top[whole] = longer, (width - longer) / 2, (height - longer) / 2
    plan = _plan(params, u, crop, left, top, side, field, shifts)
    strength = min(params.augment_strength, 1.0) if params.augment else 0.0
    grey, mirrored = u[:, 23] < CHANCE_GREY * strength, torch.zeros(count, dtype=torch.bool)
    if cuts.overview <= 4:
        grey[1 : cuts.overview : 2] = True
        mirrored[2 : cuts.overview] = True
    grey[cuts.overview : cuts.overview + round(cuts.grey * cuts.inner)] = True
    luma = plan.colour.new_tensor(LUMA).expand(3, 3)
    colour = torch.where(grey[:, None, None], luma @ plan.colour, plan.colour)
    flip = torch.diag(plan.geometry.new_tensor([-1.0, 1.0, 1.0]))
    geometry = torch.where(mirrored[:, None, None], plan.geometry @ flip, plan.geometry)
    level = plan.level.clamp(max=math.floor(math.log2(shorter)))
    return replace(plan, geometry=geometry, colour=colour, level=level)


def _plan(
    params: Cutouts, u: Tensor, crop: Tensor, left: Tensor, top: Tensor, side: int, field: Tensor, shifts: Tensor
) -> Plan:
    """Squares of `crop` px at (left, top), all (cutn,) float64, turned and recoloured by the draws u (cutn, DRAWS)."""
    cutn = len(u)
    half = crop / 2
    place = _matrix(cutn, half, 0, left + half, 0, half, top + half)
    strength = params.augment_strength if params.augment else 0.0
    geometry = place @ _turns(u, strength)
    level = torch.log2(crop / side).round().clamp(min=0)
    return Plan(
        geometry.float(),
        level.float(),
        _colours(u, strength).float(),
        _when(u[:, 20] < CHANCE_SHARPNESS, (2 * u[:, 21] - 1).clamp(max=0.3) * min(strength, 1.0)).float(),
        (u[:, 22] * params.noise).float(),
        field,
        shifts,
        torch.zeros(cutn, dtype=torch.int64),
    )


def _matrix(n: int, *rows: Tensor | float) -> Tensor:
    """(n, 3, 3) from its first two rows, each entry a number or (n,)."""
    entries = [torch.as_tensor(r, dtype=torch.float64).expand(n) for r in (*rows, 0, 0, 1)]
    return torch.stack(entries, -1).view(n, 3, 3)


def _when(chosen: Tensor, value: Tensor) -> Tensor:
    return torch.where(chosen, value, torch.zeros_like(value))


def _turns(u: Tensor, strength: float) -> Tensor:
    """Flip, affine and perspective in cutout coordinates: uniform draws (n, DRAWS) -> (n, 3, 3)."""
    n = len(u)
    signed = (2 * u - 1) * strength
    affine = u[:, 4] < CHANCE_AFFINE
    angle, across, down = (_when(affine, signed[:, 5 + i]) for i in range(3))
    shear_x, shear_y = (_when(affine, signed[:, 8 + i]) for i in range(2))
    angle = angle * TURN
    cos, sin = angle.cos(), angle.sin()
    turn = _matrix(n, cos, -sin, across * 2 * SHIFT, sin, cos, down * 2 * SHIFT)
    shear = _matrix(n, 1, (shear_x * SHEAR).tan(), 0, (shear_y * SHEAR).tan(), 1, 0)
    tilt = _matrix(n, 1, 0, 0, 0, 1, 0)
    for column in range(2):
        tilt[:, 2, column] = _when(u[:, 10] < CHANCE_PERSPECTIVE, signed[:, 11 + column]) * PERSPECTIVE
    flip = torch.where(u[:, 3] < 0.5 * min(strength, 1.0), -1.0, 1.0)
    return turn @ shear @ tilt @ _matrix(n, flip, 0, 0, 0, 1, 0)


def _colours(u: Tensor, strength: float) -> Tensor:
    """Brightness, contrast, saturation and hue as one matrix: uniform draws (n, DRAWS) -> (n, 3, 4)."""
    n = len(u)
    jitter = (2 * u[:, 14:18] - 1) * strength * (u[:, 13:14] < CHANCE_COLOUR)
    luma = torch.tensor(LUMA, dtype=torch.float64).expand(3, 3)
    eye = torch.eye(3, dtype=torch.float64)
    saturation = 1 + COLOUR * jitter[:, 2, None, None]
    saturate = saturation * eye + (1 - saturation) * luma
    # Hue: a turn about the grey axis (Rodrigues), so white, grey and black keep their colour.
    axis = torch.full((3, 3), 1 / 3, dtype=torch.float64)
    cross = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=torch.float64) / math.sqrt(3)
    angle = HUE * jitter[:, 3, None, None]
    turn = axis + angle.cos() * (eye - axis) + angle.sin() * cross
    contrast = 1 + COLOUR * jitter[:, 1, None, None]
    matrix = contrast * (turn @ saturate)
    offset = (1 - contrast) * 0.5 + COLOUR * jitter[:, 0, None, None]
    return torch.cat([matrix, offset.expand(n, 3, 1)], 2)


def cut(images: Tensor, plans: Sequence[Plan], side: int, start: int = 0, stop: int | None = None) -> Tensor:
    """Cutouts number `start` to `stop` of all pictures' plans laid end to end.

    images: (B, 3, H, W) float32 in [0, 1]; plans: one per picture -> (N, 3, side, side), near [0, 1]: not clamped,
    since that would stop the gradient wherever noise or contrast passes white or black.
    """
    device = images.device
    owner = torch.cat([torch.full((len(plan),), b) for b, plan in enumerate(plans)])[start:stop]
    first, last = int(owner[0]), int(owner[-1]) + 1
    counts = torch.bincount(owner - first).tolist()

    def every(name: str) -> Tensor:
        return torch.cat([getattr(plan, name) for plan in plans])[start:stop]

    def sent(name: str) -> Tensor:
        return to_device(every(name), device)

    level = every("level")
    atlas, boxes = _atlas(images[first:last], int(level.max()))
    grid = _grid(sent("geometry"), to_device(level, device), to_device(boxes, device), side, atlas.shape)
    cutouts = _sample(atlas, grid, counts)
    colour = sent("colour")
    cutouts = torch.einsum("nij,njhw->nihw", colour[:, :, :3], cutouts) + colour[:, :, 3, None, None]
    blurred = F.avg_pool2d(cutouts, 3, 1, 1, count_include_pad=False)
    cutouts = cutouts + sent("sharpness")[:, None, None, None] * (cutouts - blurred)
    # Every cutout's noise is its own window of the picture's periodic noise field: (B, 3, 2R, 2R) seen R x R at a time.
    fields = to_device(torch.stack([plan.field for plan in plans]), device).repeat(1, 1, 2, 2)
    windows = fields.unfold(2, side, 1).unfold(3, side, 1)
    down, right = sent("shifts").unbind(1)
    return cutouts + sent("noise")[:, None, None, None] * windows[to_device(owner, device), :, down, right]


def _atlas(images: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """A mip pyramid in one image, halves to the right of the whole: (B, 3, H, W) -> (B, 3, H, W * 3 / 2).

    Also the box of each level, (levels + 1, 4): x, y, width, height in px. Large crops are read from a smaller level,
    so that shrinking them does not alias.
    """
    height, width = images.shape[2:]
    boxes, pyramid = [[0, 0, width, height]], []
    smaller, top = images, 0
    for _ in range(levels):
        smaller = F.avg_pool2d(smaller, 2)
        boxes.append([width, top, smaller.shape[3], smaller.shape[2]])
        pyramid.append(F.pad(smaller, (0, width // 2 - smaller.shape[3])))
        top += smaller.shape[2]
    if pyramid:
        column = torch.cat(pyramid, 2)
        images = torch.cat([images, F.pad(column, (0, 0, 0, height - top))], 3)
    return images, torch.tensor(boxes, dtype=torch.float32)


def _grid(geometry: Tensor, level: Tensor, boxes: Tensor, side: int, atlas: torch.Size) -> Tensor:
    """Where each cutout pixel is read, as grid_sample wants it: (N, side, side, 2) in [-1, 1] of the atlas."""
    line = (torch.arange(side, device=geometry.device) * 2 + 1) / side - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1).view(1, -1, 3) @ geometry.transpose(1, 2)
    px = points[..., :2] / points[..., 2:] / torch.exp2(level)[:, None, None]
    box = boxes[level.long()][:, None]
    # Outside the picture its edge goes on; inside the atlas that must be the edge of this level.
    px = torch.minimum(px.clamp(min=0.5), box[..., 2:] - 0.5) + box[..., :2]
    size = to_device([atlas[3], atlas[2]], px.device)
    return (px * 2 / size - 1).view(-1, side, side, 2)


def _sample(atlas: Tensor, grid: Tensor, counts: list[int]) -> Tensor:
    """One grid_sample over all pictures; counts[b] cutouts are read from atlas[b]: -> (N, 3, side, side)."""
    side = grid.shape[1]
    # The cutouts of one picture are stacked into one tall output, so the picture is never copied per cutout.
    tall = torch.zeros(len(counts), max(counts), side, side, 2, device=grid.device)
    for b, part in enumerate(grid.split(counts)):
        tall[b, : len(part)] = part
    resample: Callable[[Tensor, Tensor], Tensor] = _Resample.apply
    out = resample(atlas, tall.view(len(counts), -1, side, 2)).unflatten(2, (-1, side))
    return torch.cat([out[b, :, :n].transpose(0, 1) for b, n in enumerate(counts)])


class _Resample(torch.autograd.Function):
    """Bilinear grid_sample whose gradient with respect to the image is the same bytes every time."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(image, grid)
        return F.grid_sample(image, grid, align_corners=False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        image, grid = ctx.saved_tensors
        if image.device.type == "cuda":
            return scatter_exactly(grads[0], grid, image.shape[2], image.shape[3]), None
        backward = torch.ops.aten.grid_sampler_2d_backward
        return backward(grads[0].contiguous(), image, grid, 0, 0, False, [True, False])[0], None


def scatter_exactly(grad: Tensor, grid: Tensor, height: int, width: int) -> Tensor:
    """Gradient of a bilinear grid_sample, summed in integers: (B, 3, h, w), (B, h, w, 2) -> (B, 3, height, width).

    CUDA adds floats in whatever order its threads arrive, which makes the last bits, and after some steps the
    picture, differ from run to run. Integer sums do not depend on the order. Reads must lie within the image.
    """
    x, y = ((grid + 1) * to_device([width, height], grid.device) / 2 - 0.5).flatten(1, 2).unbind(-1)
    grad = grad.flatten(2).float()
    greatest = grad.abs().amax((1, 2), keepdim=True)
    scale = 2.0**30 / greatest.clamp(min=1e-30)
    grad = torch.nan_to_num(grad * scale, posinf=0.0, neginf=0.0)
    total = torch.zeros(len(grad), 3, height * width, dtype=torch.int64, device=grad.device)
    left, top = x.floor().clamp(0, width - 1), y.floor().clamp(0, height - 1)
    for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
        for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
            where = row.clamp(max=height - 1).long() * width + column.clamp(max=width - 1).long()
            part = (grad * (across * down)[:, None]).round().long()
            total.scatter_add_(2, where[:, None].expand_as(part), part)
    result = (total / scale).unflatten(2, (height, width)).to(grid.dtype)
    return torch.where(greatest[..., None].isfinite(), result, torch.nan)
