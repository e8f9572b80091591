"""Drafts of a prompt by the embedded prior, of which the one goes on that CLIP finds nearest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from generator import registry
from generator.checkpoints.embedded import load_drafter, load_prior
from generator.checkpoints.loading import load_vqgan, text_encoder_of
from generator.device import Host
from generator.guidance.clip_loss import compare
from generator.guidance.targets import Targets
from generator.models.clip import ClipModel
from generator.models.contracts import Clip, Quantised
from generator.models.drafts import Drafter
from generator.models.emphasis import read_prompts
from generator.models.layout import Layout
from generator.models.prior import Prior
from generator.params import GuidedDiffusionParams
from generator.precision import Precision
from generator.prompts import Prompt, main_prompt
from generator.starts.forming import forming
from generator.starts.masks import Kept
from generator.starts.pictures import contain, decoded
from generator.starts.scenes import Composer, Composition, DrawThing
from generator.starts.variants import Variant

VARIETY = 0.35  # how far a seed may turn the text that the layout reads

# z (N, e_dim, h, w) -> how far its pictures are from the prompts, (N,)
Distance = Callable[[Tensor], Tensor]
# What is done with a first picture or its z, before there is a first step.
Show = Callable[[Tensor], None]


class DraftCodes(Protocol):
    """What draws codes from a text, and knows the principal components of such pictures."""

    @property
    def layout(self) -> Layout: ...

    def __call__(
        self, text: Prompt, style: str | None, seeds: list[int], distance: Distance, show: Show | None = None
    ) -> Tensor:
        """One seed per draft -> codes (drafts, h, w). show is given z of the first before the others are drawn."""
        ...


class MiniDrafts:
    """Codes drawn by the embedded prior; it is loaded when it is first asked."""

    def __init__(self, precision: Precision, clips: Sequence[Clip], host: Host) -> None:
        self._precision, self._clips, self._host = precision, clips, host
        self._text_encoder: ClipModel | None = None
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
    def __call__(
        self, text: Prompt, style: str | None, seeds: list[int], distance: Distance, show: Show | None = None
    ) -> Tensor:
        """As DraftCodes. Raises UnknownStyle, CheckpointDamaged."""
        if self._text_encoder is None:
            self._text_encoder = text_encoder_of(self._clips, self._host)
        drafter, prior = self._drawing
        with self._precision.autocast():
            (features,) = read_prompts(self._text_encoder.text_features, [text]).float()
            return prior.sample(drafter(features, seeds, style, VARIETY, distance, show), seeds)


@dataclass(frozen=True)
class Begun:
    """picture: (3, height, width) in [0, 1]; z: (1, e_dim, h, w) of the draft that formed it, None where what is kept
    stands in it too; targets: with what is looked at by itself; kept: of which nothing is drawn anew."""

    picture: Tensor
    z: Tensor | None
    targets: Targets
    kept: Kept | None = None


class MiniPictures:
    """Pictures drawn by the embedded prior, for an engine that works on pixels; loaded when it is first asked.

    composer: draws the things of a scene one by one; None to draw every prompt as one thing.
    """

    def __init__(
        self, precision: Precision, clips: Sequence[Clip], host: Host, composer: Composer | None = None
    ) -> None:
        self._precision, self._clips, self._host, self.composer = precision, clips, host, composer
        self._draft_codes = MiniDrafts(precision, clips, host)
        self._vqgan: Quantised | None = None

    @property
    def _decoding(self) -> Quantised:
        if self._vqgan is None:
            self._vqgan = load_vqgan(registry.EMBEDDED_VQGAN, self._host)
        return self._vqgan

    @torch.no_grad()
    def __call__(
        self,
        params: GuidedDiffusionParams,
        prompts: str,
        targets: Targets,
        generator: torch.Generator,
        kept: Kept | None = None,
    ) -> Begun:
        """The best of `candidates` drafts as CLIP sees them; or a scene composed of such drafts, and what is put into a
        picture that is kept. Raises as MiniDrafts, and ValueError for a kept picture without a composer."""
        vqgan, text = self._decoding, main_prompt(prompts)
        if self.composer is not None:
            draw_thing = thing_drawer(
                self._draft_codes, vqgan, self._clips, params.candidates, params.loss, self._precision, generator
            )
            how = params.actual_size, params.known_style, generator, self._host.show, kept
            if begun := self.composer.begin(text, targets, draw_thing, *how):
                made, aimed = begun
                z = composed_z(made, vqgan, self._draft_codes.layout) if kept is None else None
                return Begun(made.pictures[0], z, aimed, made.kept)
        if kept is not None:
            raise ValueError("init=prior with a mask needs what composes pictures; use noise, perlin or image.")
        z = best_draft(
            self._draft_codes,
            vqgan,
            text,
            params.known_style,
            params.candidates,
            generator,
            lambda z: distances(z, vqgan, self._clips, targets, params.loss, self._precision),
            showing(self._host.show, vqgan, self._precision, params.actual_size),
            Variant.of(params, vqgan, self._clips, self._precision),
        )
        drawn = decoded(z, vqgan, self._precision)
        return Begun(contain(drawn, *params.actual_size)[0].clamp(0, 1), z, targets)

    def forming(self, z: Tensor, size: tuple[int, int]) -> Tensor:
        """How a draft came to be, as generator.starts.forming says."""
        return forming(z, self._draft_codes.layout, self._decoding, self._precision, size)


def thing_drawer(
    draft_codes: DraftCodes,
    vqgan: Quantised,
    clips: Sequence[Clip],
    candidates: int,
    loss: str,
    precision: Precision,
    generator: torch.Generator,
) -> DrawThing:
    """What draws a thing of a scene as the best of so many drafts."""

    @torch.no_grad()
    def draw(text: Prompt, style: str, targets: Targets) -> Tensor:
        def distance(z: Tensor) -> Tensor:
            return distances(z, vqgan, clips, targets, loss, precision)

        z = best_draft(draft_codes, vqgan, text, style, candidates, generator, distance)
        return decoded(z, vqgan, precision).clamp(0, 1)

    return draw


def composed_z(made: Composition, vqgan: Quantised, layout: Layout) -> Tensor:
    """z (1, e_dim, g, g) of a composition in the layout's own size, as the draft of one thing has it."""
    side = layout.grid * vqgan.factor
    return vqgan.encode(contain(made.pictures[:1], side, side)).float()


def best_draft(
    draft_codes: DraftCodes,
    vqgan: Quantised,
    text: Prompt,
    style: str | None,
    candidates: int,
    generator: torch.Generator,
    distance: Distance,
    show: Show | None = None,
    variant: Variant | None = None,
) -> Tensor:
    """Of so many drafts the one that comes nearest to the prompts: z (1, e_dim, h, w).

    show is given the first. variant: of a further picture of a sheet, which chooses among drafts of its own.
    """
    seeds = torch.randint(2**62, (candidates,), generator=generator).tolist() if variant is None else variant.seeds
    z = vqgan.codes_to_z(draft_codes(text, style, seeds, distance, show).to(vqgan.codebook.device))
    if variant is not None:
        return variant.chosen(z, distance(z))[1]
    return z[distance(z).argmin()][None] if len(z) > 1 else z


def showing(show: Show | None, vqgan: Quantised, precision: Precision, size: tuple[int, int]) -> Show | None:
    """Shows the picture (3, height, width) in [0, 1] of a draft's z (1, e_dim, h, w). None where nobody looks.

    size: (width, height) in px.
    """
    if show is None:
        return None

    def decode(z: Tensor) -> None:
        show(contain(decoded(z, vqgan, precision), *size)[0].clamp(0, 1).cpu())

    return decode


def distances(
    z: Tensor,
    vqgan: Quantised,
    clips: Sequence[Clip],
    targets: Targets,
    loss: str,
    precision: Precision,
) -> Tensor:
    """z (N, e_dim, h, w) -> how far its pictures are from the prompts, (N,)."""
    return compare(decoded(z, vqgan, precision), clips, targets, loss, precision)[0]
