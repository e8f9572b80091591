"""Where a picture starts: codes drawn from the text, random codes, a picture, or a gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from generator.checkpoints.loading import load_clip, load_drafter, load_prior, load_vqgan
from generator.guidance.clip_loss import compare
from generator.guidance.targets import Clip, Targets
from generator.images.convert import cover, to_tensor
from generator.models.clip import ClipModel
from generator.models.drafts import Drafter
from generator.models.layout import Layout
from generator.models.prior import Prior
from generator.params import GuidedDiffusionParams, VqganClipParams
from generator.precision import Precision
from generator.prompts import parse_prompts

VARIETY = 0.35  # how far a seed may turn the text that the layout reads
SPREAD = 0.2  # deviation of the random amounts of the components, in theirs


class Quantised(Protocol):
    """What the engine asks of a VQGAN; images (B, 3, H, W) in [0, 1], z (B, e_dim, h, w), codes (B, h, w)."""

    @property
    def factor(self) -> int: ...
    @property
    def n_embed(self) -> int: ...
    @property
    def codebook(self) -> Tensor: ...
    @property
    def decoder(self) -> torch.nn.Module: ...
    def encode(self, image: Tensor) -> Tensor: ...
    def quantise(self, z: Tensor) -> tuple[Tensor, Tensor]: ...
    def decode(self, z_q: Tensor) -> Tensor: ...
    def codes_to_z(self, codes: Tensor) -> Tensor: ...


# z (N, e_dim, h, w) -> how far its pictures are from the prompts, (N,)
Distance = Callable[[Tensor], Tensor]


class DraftCodes(Protocol):
    """What draws codes from a text, and knows the principal components of such pictures."""

    @property
    def layout(self) -> Layout: ...

    def __call__(self, text: str, style: str | None, seeds: list[int], distance: Distance) -> Tensor:
        """One seed per draft -> codes (drafts, h, w)."""
        ...


class MiniDrafts:
    """Codes drawn by the embedded prior; it is loaded when it is first asked."""

    def __init__(self, precision: Precision, clips: Sequence[Clip]) -> None:
        self._precision = precision
        self._clip = next((clip for clip in clips if isinstance(clip, ClipModel) and clip.name == "mini"), None)
        self._drawers: tuple[Drafter, Prior] | None = None

    @property
    def _drawing(self) -> tuple[Drafter, Prior]:
        if self._drawers is None:
            drafter = load_drafter(str(self._precision.device))
            self._drawers = drafter, load_prior(str(self._precision.device), drafter.layout)
        return self._drawers

    @property
    def layout(self) -> Layout:
        """Of the drafts; it holds the principal components of what pictures the VQGAN was made for.

        Raises CheckpointDamaged.
        """
        return self._drawing[0].layout

    @torch.no_grad()
    def __call__(self, text: str, style: str | None, seeds: list[int], distance: Distance) -> Tensor:
        """As DraftCodes. Raises UnknownStyle, CheckpointDamaged."""
        if self._clip is None:  # another CLIP guides, but the prior reads texts as the embedded one does
            self._clip = load_clip("mini", "", str(self._precision.device))
        drafter, prior = self._drawing
        with self._precision.autocast():
            (features,) = self._clip.text_features([text]).float()
            return prior.sample(drafter(features, seeds, style, VARIETY, distance), seeds)


class MiniPictures:
    """Pictures drawn by the embedded prior, for an engine that works on pixels; loaded when it is first asked."""

    def __init__(self, precision: Precision, clips: Sequence[Clip]) -> None:
        self._precision, self._clips = precision, clips
        self._draft_codes = MiniDrafts(precision, clips)
        self._vqgan: Quantised | None = None

    @torch.no_grad()
    def __call__(
        self, params: GuidedDiffusionParams, prompts: str, targets: Targets, generator: torch.Generator
    ) -> Tensor:
        """The best of `candidates` drafts as CLIP sees them, (3, height, width) in [0, 1]; raises as MiniDrafts."""
        if self._vqgan is None:
            self._vqgan = load_vqgan("mini", "", str(self._precision.device))
        vqgan = self._vqgan
        z = best_draft(
            self._draft_codes,
            vqgan,
            prior_text(prompts),
            params.known_style,
            params.candidates,
            generator,
            lambda z: _distances(z, vqgan, self._clips, targets, params.loss, self._precision),
        )
        with self._precision.autocast():
            drawn = vqgan.decode(vqgan.quantise(z)[0]).float()
        return contain(drawn, *params.actual_size)[0].clamp(0, 1)


@torch.no_grad()
def start_z(
    params: VqganClipParams,
    vqgan: Quantised,
    clips: Sequence[Clip],
    targets: Targets,
    generator: torch.Generator,
    *,
    draft_codes: DraftCodes | None,
    read_image: Callable[[str], Image.Image],
    precision: Precision,
) -> Tensor:
    """The z (1, e_dim, h, w) a picture starts from, float32; with init=components how much of each in as many starts as
    are tried, (candidates, components).

    All draws come from the CPU `generator`. init_strength below 1 puts random codes in that share of places.
    Raises what `read_image` raises.
    """
    device = precision.device
    width, height = params.actual_size
    if params.init == "components":
        if draft_codes is None:
            raise ValueError("init=components needs the components of this checkpoint; use random, gradient or image.")
        shape = params.candidates, len(draft_codes.layout.deviation)
        return SPREAD * torch.randn(shape, generator=generator).to(device)
    grid = (1, height // vqgan.factor, width // vqgan.factor)
    noise = vqgan.codes_to_z(torch.randint(vqgan.n_embed, grid, generator=generator).to(device)).float()
    kept = (torch.rand(grid, generator=generator) < params.init_strength).to(device)
    if params.init == "random":
        return noise
    if params.init == "prior":
        if draft_codes is None:
            raise ValueError("init=prior needs a prior for this checkpoint; use random, gradient or image.")
        z = best_draft(
            draft_codes,
            vqgan,
            prior_text(params.prompt),
            params.style,
            params.candidates,
            generator,
            lambda z: _distances(z, vqgan, clips, targets, params.loss, precision),
        )
        if z.shape[2:] != noise.shape[2:]:
            # The prior draws one size; a larger picture starts from that draft enlarged, on its own edge colours.
            with precision.autocast():
                small = vqgan.decode(z)
            z = vqgan.encode(contain(small, width, height))
    elif params.init == "image":
        assert params.init_image is not None
        z = vqgan.encode(to_tensor(cover(read_image(params.init_image), width, height))[None].to(device))
    else:
        z = vqgan.encode(gradient_picture(width, height, generator)[None].to(device))
    return torch.where(kept[:, None], z.float(), noise)


def best_draft(
    draft_codes: DraftCodes,
    vqgan: Quantised,
    text: str,
    style: str | None,
    candidates: int,
    generator: torch.Generator,
    distance: Distance,
) -> Tensor:
    """Of so many drafts the one that comes nearest to the prompts: z (1, e_dim, h, w)."""
    seeds = torch.randint(2**62, (candidates,), generator=generator).tolist()
    z = vqgan.codes_to_z(draft_codes(text, style, seeds, distance).to(vqgan.codebook.device))
    return z[distance(z).argmin()][None] if len(z) > 1 else z


def _distances(
    z: Tensor, vqgan: Quantised, clips: Sequence[Clip], targets: Targets, loss: str, precision: Precision
) -> Tensor:
    """z (N, e_dim, h, w) -> how far its pictures are from the prompts, (N,)."""
    with precision.autocast():
        images = vqgan.decode(vqgan.quantise(z)[0]).float()
    return compare(images, clips, targets, loss, precision)[0]


def prior_text(prompts: str) -> str:
    """The text prompt with the greatest weight: the one the prior draws from."""
    return max(parse_prompts(prompts), key=lambda prompt: prompt.weight).text


def contain(image: Tensor, width: int, height: int) -> Tensor:
    """Enlarged to fit within width x height px, the edge continued where the shape differs: (1, 3, H, W)."""
    scale = min(width / image.shape[3], height / image.shape[2])
    inner = round(image.shape[2] * scale), round(image.shape[3] * scale)
    image = F.interpolate(image.float(), inner, mode="bicubic", antialias=True).clamp(0, 1)
    down, across = height - inner[0], width - inner[1]
    return F.pad(image, (across // 2, across - across // 2, down // 2, down - down // 2), mode="replicate")


def gradient_picture(width: int, height: int, generator: torch.Generator) -> Tensor:
    """A linear fade between two random colours in a random direction: (3, height, width) in [0, 1]."""
    first, second = torch.rand(2, 3, 1, 1, generator=generator)
    angle = torch.rand((), generator=generator) * 2 * torch.pi
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    along = ((x * angle.cos() + y * angle.sin()) / 2**0.5 + 1) / 2
    return torch.lerp(first.expand(3, height, width), second.expand(3, height, width), along.clamp(0, 1))
