"""VQGAN + CLIP (Crowson et al. 2022, arXiv:2204.08583): z is optimised until CLIP sees the prompts in decode(z).

Per step and batch: quantise z with a straight-through gradient, decode every picture once, cut all cutouts of all
pictures in one resampling, embed them in one pass (or `micro_batch` at a time), and carry the summed gradient back.
Of several random starts the one that CLIP finds nearest after a few steps goes on: what is found in the end depends
on where it began, and the first steps tell (one round of successive halving, Jamieson and Talwalkar 2016,
arXiv:1502.07943). Until then the one shown is whichever leads, so the film may jump from one to another.
Where a mask says what of a picture is drawn anew, the other codes are held, and CLIP sees that part as it is.
With `coarse` the first steps draw at half the size, whose z is stretched then: shapes come before details, sooner.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from generator.checkpoints.embedded import load_finisher
from generator.checkpoints.loading import load_clip, load_vqgan
from generator.device import Host
from generator.engines.base import Step
from generator.engines.batching import advance_by_shape, is_exact
from generator.engines.latent_slot import LatentSlot, resume, scored
from generator.guidance.clip_loss import along, clip_loss, compare
from generator.guidance.style import StyleGuide, load_style_guide
from generator.guidance.targets import Targets, prompt_targets, total_variation
from generator.images.convert import no_picture
from generator.models.contracts import Clip, Quantised
from generator.params import VqganClipParams
from generator.params.vqgan_clip import TRIAL
from generator.precision import Precision, recomputed, repeatable
from generator.prompts import main_prompt
from generator.registry.rows import Checkpoint
from generator.starts.drafts import DraftCodes, MiniDrafts, thing_drawer
from generator.starts.forming import forming
from generator.starts.latents import start_z
from generator.starts.masks import Kept, read_kept
from generator.starts.scenes import Composer, Composition
from generator.transfer import to_device

FARTHEST = (torch.tensor(-4.0), torch.tensor(4.0))  # that a component may get, in its deviations


class VqganClip:
    """The engine: weights on a device, slots advanced together.

    The first Step of a slot has index 0 and shows the start; the last has index == total (or less when patience ended
    it) and done=True, so `steps` optimisation steps give steps + 1 Steps. The picture of a Step is the one CLIP scored;
    with ema > 0 it is the moving average's, decoded once more where a frame is due.
    micro_batch: cutouts per CLIP pass, None for all; may be changed between any two steps.
    """

    name = "vqgan-clip"

    def __init__(
        self,
        vqgan: Quantised,
        clips: Sequence[Clip],
        *,
        draft_codes: DraftCodes | None = None,
        composer: Composer | None = None,
        style_guide: StyleGuide | None = None,
        device: str = "cpu",
        read_image: Callable[[str], Image.Image] = no_picture,
        show_early: Callable[[Tensor], None] | None = None,
        precision: torch.dtype | None = None,
    ) -> None:
        """On models already built. composer: draws the things of a scene one by one; None to draw every prompt as one
        thing. show_early: as `Host.show`. precision: of the matrix products; None for the best that the device has."""
        self.device = torch.device(device)
        self.precision = Precision.best(self.device, precision)
        self.micro_batch: int | None = None
        self.exact: bool | None = None
        self.composer = composer
        self.vqgan, self.clips = vqgan, clips
        self._draft_codes, self._style_guide, self._read_image = draft_codes, style_guide, read_image
        self._show_early = show_early
        self.precision.freeze(vqgan, *clips)
        self.precision.narrow(vqgan.decoder, *(clip.network.visual for clip in clips))
        codebook = vqgan.codebook.detach().float()
        self._low = codebook.amin(0).view(1, -1, 1, 1)
        self._high = codebook.amax(0).view(1, -1, 1, 1)

    @classmethod
    def load(cls, checkpoint: Checkpoint, clips: Sequence[Checkpoint], host: Host) -> VqganClip:
        """On the weights of a checkpoint. Raises CheckpointMissing, CheckpointDamaged."""
        vqgan = load_vqgan(checkpoint, host)
        guides = [load_clip(clip, host) for clip in clips]
        if not checkpoint.embedded:
            return cls(vqgan, guides, device=host.device, read_image=host.read_image)
        precision = Precision.best(torch.device(host.device))
        return cls(
            vqgan,
            guides,
            draft_codes=MiniDrafts(precision, guides, host),
            composer=Composer(load_finisher(host.device), guides, precision),
            style_guide=load_style_guide(guides, host),
            device=host.device,
            read_image=host.read_image,
            show_early=host.show,
        )

    def open(self, params: VqganClipParams) -> LatentSlot[VqganClipParams]:
        """Embeds the prompts and makes the start.

        Raises PromptTooLong, ValueError for a mask without white, and what `read_image` raises.
        """
        generator = torch.Generator().manual_seed(params.seed)
        kept = read_kept(params, self._read_image, self.device)
        with repeatable():
            targets = prompt_targets(params.prompt, params.image_prompts, self.clips, self._read_image, self.precision)
            composition, targets = self._composition(params, targets, generator, kept)
            start, draft = start_z(
                self._halved(params) if params.coarse_steps else params,
                self.vqgan,
                self.clips,
                targets,
                generator,
                draft_codes=self._draft_codes,
                read_image=self._read_image,
                precision=self.precision,
                kept=kept,
                show=self._show_early,
                composition=composition,
            )
        start = start.contiguous()
        slot = LatentSlot.begin(params, targets, generator, start.clone(), start, draft)
        slot.kept = kept if composition is None else composition.kept
        slot.coarse = params.coarse_steps > 0
        return slot

    def _halved(self, params: VqganClipParams) -> VqganClipParams:
        """The same for a picture of half as many codes each way, rounded up."""
        width, height = (-(-side // (2 * self.vqgan.factor)) * self.vqgan.factor for side in params.actual_size)
        return params.model_copy(update={"width": width, "height": height})

    def _composition(
        self, params: VqganClipParams, targets: Targets, generator: torch.Generator, kept: Kept | None
    ) -> tuple[Composition | None, Targets]:
        """The scene to begin with, if the prompt tells one or what it tells is put into a picture that is kept, and the
        targets with its things looked at one by one."""
        if self.composer is None or self._draft_codes is None or params.init != "prior":
            return None, targets
        draw_thing = thing_drawer(
            self._draft_codes, self.vqgan, self.clips, params.candidates, params.loss, self.precision, generator
        )
        how = params.actual_size, params.style, generator, self._show_early, kept
        return self.composer.begin(main_prompt(params.prompt), targets, draw_thing, *how) or (None, targets)

    def resume(self, params: VqganClipParams, state: dict[str, Any]) -> LatentSlot[VqganClipParams]:
        """A slot that goes on from `state_dict()`, on this device. Raises ValueError for a state of another kind."""
        return resume(params, state, self.device)

    def advance(self, slots: Sequence[LatentSlot[VqganClipParams]]) -> list[Step]:
        """One step of each slot; unless `exact`, those of the same size and with as many starts share every pass.

        A slot whose numbers are no longer finite gets a Step with error=NotFinite; the others go on.
        Raises ValueError for a slot that is done.
        """
        return advance_by_shape(slots, self._advance, is_exact(self.exact, self.device))

    def _advance(self, slots: list[LatentSlot[VqganClipParams]]) -> list[Step]:
        """As `advance`, for slots of one shape."""
        starts = len(slots[0].z)
        rows = [slot for slot in slots for _ in range(starts)]  # whose picture is whose
        moving = [slot.index < slot.params.total_steps for slot in rows]
        learn = any(moving)
        with torch.set_grad_enabled(learn):
            own = zip(slots, moving[::starts], strict=True)
            z = torch.cat([slot.z if moves else slot.z.detach() for slot, moves in own])
            images = _composed(self._decode(z, any(slot.params.checkpoint_activations for slot in slots)), rows)
            seen = images.detach().requires_grad_(learn)
            smooth = self._smooth(seen, rows, moving)
            prompts, scores = clip_loss(seen, rows, moving, self.clips, self.precision, self.micro_batch)
            styles = self._style_guide.style_loss(seen, rows, moving) if self._style_guide else torch.zeros_like(scores)
            if learn:
                along(images, seen.grad).backward()
        init_losses = torch.cat([self._init_loss(slot) for slot in slots])
        images, terms = images.detach(), {"prompts": prompts, "style": styles, "tv": smooth, "pull": init_losses}
        if starts > 1:
            self._lead(slots, images, prompts)
            shown = to_device([b * starts + slot.leading for b, slot in enumerate(slots)], self.device)
            images, scores = images[shown], scores[shown]
            terms = {name: values[shown] for name, values in terms.items()}
        steps = scored(slots, images, scores, terms, self._averages)
        steps = [self._with_draft(step, slot) for step, slot in zip(steps, slots, strict=True)]
        steps = [_in_full(step, slot) if slot.coarse else step for step, slot in zip(steps, slots, strict=True)]
        for slot in slots:
            if not slot.done:
                slot.update(*((self._low, self._high) if slot.z.dim() == 4 else FARTHEST))
                if starts > 1 and slot.index > TRIAL:
                    slot.keep_leading()
                if slot.coarse and slot.index >= slot.params.coarse_steps:
                    width, height = slot.params.actual_size
                    slot.grow((height // self.vqgan.factor, width // self.vqgan.factor))
        return steps

    def _with_draft(self, step: Step, slot: LatentSlot[VqganClipParams]) -> Step:
        if not step.done or step.error or slot.draft is None or self._draft_codes is None:
            return step
        layout, size = self._draft_codes.layout, slot.params.actual_size
        return replace(step, draft=forming(slot.draft, layout, self.vqgan, self.precision, size))

    def _lead(self, slots: list[LatentSlot[VqganClipParams]], images: Tensor, prompts: Tensor) -> None:
        """Notes which start of each slot is nearest: by the term `prompts` of what cutouts happened to be drawn, or,
        where it decides, by the whole pictures."""
        leading = prompts.view(len(slots), -1).argmin(dim=1).tolist()
        for slot, own, row in zip(slots, images.chunk(len(slots)), leading, strict=True):
            slot.leading = row
            if slot.index == min(TRIAL, slot.params.total_steps):
                far = compare(own, self.clips, slot.targets, slot.params.loss, self.precision)[0]
                slot.leading = int(far.argmin())

    def _decode(self, z: Tensor, twice: bool = False) -> Tensor:
        """(B, e_dim, h, w), or (B, components) -> (B, 3, H, W) float32 in [0, 1].

        twice: computed again for the backward pass.
        """
        if z.dim() == 2 and self._draft_codes is not None:
            z = self._draft_codes.layout.mixed(z)
        z_q = self.vqgan.quantise(z)[0]  # in full precision: rounded distances choose other codes
        with self.precision.autocast(), recomputed(self.vqgan.decoder) if twice else contextlib.nullcontext():
            return self.vqgan.decode(z_q).float()

    def _averages(self, slots: list[LatentSlot[VqganClipParams]]) -> Tensor:
        z = torch.cat([slot.average[[slot.leading]] for slot in slots if slot.average is not None])
        return _composed(self._decode(z), slots)

    def _smooth(self, seen: Tensor, slots: list[LatentSlot[VqganClipParams]], moving: list[bool]) -> Tensor:
        """Adds the gradient of tv_weight * total variation to seen.grad; the terms, (B,). A slot for every picture."""
        terms = torch.zeros(len(slots), device=self.device)
        for b, slot in enumerate(slots):
            if slot.params.tv_weight:
                term = slot.params.tv_weight * total_variation(seen[b])
                terms[b] = term.detach()
                if moving[b]:
                    term.backward()
        return terms

    def _init_loss(self, slot: LatentSlot[VqganClipParams]) -> Tensor:
        """Adds the gradient of init_weight * mean((z - start)^2) / 2 to z where it moves; the term of each start."""
        weight = slot.params.init_weight * (1 - slot.params.init_weight_decay) ** slot.index
        weight *= 1 + len(slot.targets.aims)  # the fewer codes a thing has, the harder CLIP pulls at each of them
        if not weight:
            return torch.zeros(len(slot.z), device=self.device)
        away = slot.z.detach() - slot.start
        if slot.z.grad is not None:
            slot.z.grad.add_(away, alpha=weight / away[0].numel())
        return weight * away.flatten(1).square().mean(dim=1) / 2


def _in_full(step: Step, slot: LatentSlot[VqganClipParams]) -> Step:
    """Its picture, drawn at half the size, as large as the finished one."""
    if step.image is None:
        return step
    image = F.interpolate(step.image[None], slot.params.actual_size[::-1], mode="bilinear")[0]
    return replace(step, image=image)


def _composed(images: Tensor, slots: Sequence[LatentSlot[VqganClipParams]]) -> Tensor:
    """Pictures (B, 3, H, W), a slot for each, with what that slot keeps laid over its own."""
    if all(slot.kept is None for slot in slots):
        return images
    pairs = zip(images, slots, strict=True)
    return torch.stack([image if slot.kept is None else slot.kept.over(image) for image, slot in pairs])
