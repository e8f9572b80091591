"""Latent diffusion (Rombach et al. 2022, arXiv:2112.10752): noise is taken off z step by step, steered by the text.

Per step and batch: one pass of the UNet over every candidate of every slot, with and without its text (classifier-free
guidance), in the later steps CLIP's gradient at what each candidate is becoming, one step of the sampler, and
CLIP's scores of them all; the best is shown. What a mask keeps of a picture is put back at every level, and the draft
that the network redraws is one of the whole picture, with what is asked for in the part that is drawn anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from generator import registry
from generator.checkpoints.embedded import load_drafter, load_finisher
from generator.checkpoints.loading import load_clip, load_latent_diffusion, load_vqgan, text_encoder_of
from generator.device import Host
from generator.engines.base import Step, not_finite
from generator.engines.batching import is_exact
from generator.engines.latent_diffusion_slot import LatentDiffusionSlot
from generator.guidance.clip_loss import compare
from generator.guidance.cond_fn import cond_fn
from generator.guidance.style import StyleGuide, load_style_guide
from generator.guidance.targets import Targets, prompt_targets
from generator.images.convert import cover, no_picture, to_tensor
from generator.models.clip import ClipModel
from generator.models.contracts import Clip
from generator.models.drafts import Drafter, Drafts
from generator.models.emphasis import read_prompts
from generator.models.latent_unet import LatentDiffusionModel, alphas
from generator.models.vqgan import VQModel
from generator.params import LatentDiffusionParams
from generator.precision import Precision, repeatable
from generator.prompts import Prompt, main_prompt
from generator.registry.rows import Checkpoint
from generator.sampling.samplers import ddim, dpm_solver_2m
from generator.starts.drafts import showing
from generator.starts.forming import forming
from generator.starts.masks import Kept, read_kept
from generator.starts.scenes import Composer, Composition
from generator.starts.variants import Variant
from generator.transfer import begin_to_cpu, to_device

END = (1.0, 0.0)  # alpha and sigma where no noise is left
GUIDED_FROM = 0.5  # share of the steps after which there is something for CLIP to see
HELD = 0.6  # share of its draft that stays in a scene: the network has learnt single things, and would draw one
CUTOUTS = 2  # of each candidate that CLIP guides; of a scene as many of each thing


@dataclass(frozen=True)
class _Moved:
    """What a step makes of a slot: z and x0 (n, C, g, g), the level it comes to, the best candidate's picture on its
    way to the CPU, and whether z is finite, which candidate is best, its loss and its score, (4,)."""

    z: Tensor
    denoised: Tensor
    level: tuple[float, float]
    frame: Tensor | None
    table: Tensor


class LatentDiffusion:
    """The engine: weights on a device, slots advanced together.

    The first Step of a slot (index 1) is its first sampling step; the last has index == total and done=True.
    micro_batch: candidates per pass of the UNet, None for all; may be changed between any two steps.
    """

    name = "latent-diffusion"

    def __init__(
        self,
        model: LatentDiffusionModel,
        drafter: Drafter,
        vqgan: VQModel,
        text_encoder: ClipModel,
        clips: Sequence[Clip],
        *,
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
        self.clips: list[Any] = list(clips)
        self.model, self.drafter, self.vqgan = model, drafter, vqgan
        self.text_encoder, self._read_image = text_encoder, read_image
        self._style_guide, self.composer, self._show_early = style_guide, composer, show_early
        for part in (model, drafter, vqgan, text_encoder, *self.clips):
            part.requires_grad_(False).eval().to(self.device)
        squared = alphas().double()
        self._levels = list(zip(squared.sqrt().tolist(), (1 - squared).sqrt().tolist(), strict=True))

    @classmethod
    def load(cls, checkpoint: Checkpoint, clips: Sequence[Checkpoint], host: Host) -> LatentDiffusion:
        """On the weights of a checkpoint. Raises CheckpointMissing, CheckpointDamaged."""
        guides = [load_clip(clip, host) for clip in clips]
        model, drafter = load_latent_diffusion(checkpoint, host), load_drafter(host.device)
        vqgan, text_encoder = load_vqgan(registry.EMBEDDED_VQGAN, host), text_encoder_of(guides, host)
        composer = Composer(load_finisher(host.device), guides, Precision.best(torch.device(host.device)))
        return cls(
            model, drafter, vqgan, text_encoder, guides, composer=composer, style_guide=load_style_guide(guides, host),
            device=host.device, read_image=host.read_image, show_early=host.show,
        )  # fmt: skip

    @torch.no_grad()
    def open(self, params: LatentDiffusionParams) -> LatentDiffusionSlot:
        """Reads the prompt and makes the noise.

        Raises PromptTooLong, UnknownStyle, ValueError for a mask without white, and what `read_image` raises.
        """
        generator = torch.Generator().manual_seed(params.seed)
        seeds = torch.randint(2**62, (params.candidates,), generator=generator).tolist()
        kept = read_kept(params, self._read_image, self.device)
        with repeatable():
            targets = prompt_targets(params.prompt, "", self.clips, self._read_image, self.precision)
            wanted = self._encode_prompt([p for p in params.prompts if p.weight > 0])
            negative = [p for p in params.prompts if p.weight < 0]

            def distance(z: Tensor) -> Tensor:
                return compare(self._decode(z), self.clips, targets, "spherical", self.precision)[0]

            early = None if params.init_image else self._show_early  # the picture itself comes before any draft
            show = showing(early, self.vqgan, self.precision, params.actual_size)
            composition, targets = self._composition(params, targets, seeds, generator, kept)
            if kept is not None and composition is None:
                raise ValueError("A mask needs what composes pictures; draw without one.")
            variant = Variant.of(params, self.vqgan, self.clips, self.precision)
            if composition is not None:
                drafts = self._composed(composition, wanted)
            else:
                drawn = variant.seeds if variant else seeds
                drafts = self.drafter(wanted, drawn, params.style, params.variety, distance, show)
                if variant is not None:
                    row, posed = variant.chosen(drafts.z, distance(drafts.z))
                    drafts = drafts.repeated(row, len(seeds), posed)
            blank = self.drafter.layout(torch.zeros_like(drafts.text), drafts.style)
            z = torch.randn(drafts.z.shape, generator=generator).to(self.device)
            negative_text = self._encode_prompt(negative).expand(len(seeds), -1) if negative else None
            slot = LatentDiffusionSlot(
                params,
                targets,
                generator,
                z,
                torch.zeros_like(z),
                drafts.z,
                blank,
                drafts.text,
                negative_text,
                drafts.style,
            )
            if composition is not None:
                slot.kept, slot.known, slot.noise = composition.kept, drafts.z.mean(dim=0, keepdim=True), z
            if params.init_image:
                picture = to_tensor(cover(self._read_image(params.init_image), *params.actual_size))
                start = drafts.z if kept else self.vqgan.encode(picture[None].to(self.device)).float()
                alpha, sigma = self._levels[slot.times[0]]
                slot.z = alpha * start + sigma * z
        return slot

    def _composition(
        self,
        params: LatentDiffusionParams,
        targets: Targets,
        seeds: list[int],
        generator: torch.Generator,
        kept: Kept | None,
    ) -> tuple[Composition | None, Targets]:
        """The scene to begin with, one for each seed, if the prompt tells one or what it tells is put into a picture
        that is kept, and the targets with its things looked at one by one."""
        if self.composer is None or (params.init_image and kept is None):
            return None, targets

        def draw_thing(text: Prompt, style: str, own: Targets) -> Tensor:
            def distance(z: Tensor) -> Tensor:
                return compare(self._decode(z), self.clips, own, "spherical", self.precision)[0]

            return self._decode(self.drafter(self._encode_prompt([text]), seeds, style, params.variety, distance).z)

        how = params.actual_size, params.style, generator, self._show_early, kept
        return self.composer.begin(main_prompt(params.prompt), targets, draw_thing, *how) or (None, targets)

    def _composed(self, composition: Composition, text: Tensor) -> Drafts:
        """Compositions as the drafts of a text (W,)."""
        count = len(composition.pictures)
        style = torch.full((count,), self.drafter.layout.style_index(composition.style), device=self.device)
        return Drafts(self.vqgan.encode(composition.pictures).float(), text.float().expand(count, -1), style)

    def _encode_prompt(self, prompts: Sequence[Any]) -> Tensor:
        """The weighted mean of the prompts' vectors, of unit length: (W,)."""
        vectors = read_prompts(self.text_encoder.text_features, prompts).to(self.device)
        shares = torch.tensor([abs(p.weight) for p in prompts], dtype=torch.float64)  # the least weights are 0 in fp32
        weights = (shares / shares.sum()).float().to(self.device)
        return F.normalize((weights[:, None] * vectors).sum(dim=0), dim=0)

    def resume(self, params: LatentDiffusionParams, state: dict[str, Any]) -> LatentDiffusionSlot:
        """A slot that goes on from `state_dict()`, on this device. Raises ValueError for a state of another kind."""
        return LatentDiffusionSlot.from_state(params, state, self.device)

    @torch.no_grad()
    def advance(self, slots: Sequence[LatentDiffusionSlot]) -> list[Step]:
        """One step of each slot, in shared passes unless `exact`. A slot whose numbers are no longer finite gets a Step
        with error=NotFinite; the others go on. Raises ValueError for a slot that is done."""
        if any(slot.done for slot in slots):
            raise ValueError("a slot that is done cannot be advanced.")
        if is_exact(self.exact, self.device):
            return [step for slot in slots for step in self._advance([slot])]
        return self._advance(slots) if slots else []

    def _advance(self, slots: Sequence[LatentDiffusionSlot]) -> list[Step]:
        """As `advance`, in shared passes."""
        counts = [len(slot.z) for slot in slots]
        before = [slot.generator.get_state() for slot in slots]
        try:
            with repeatable():
                chunk = self.micro_batch or sum(counts)
                parts = zip(*(values.split(chunk) for values in self._rows(slots)), strict=True)
                v = torch.cat([self._v(*part) for part in parts]).split(counts)
                moved = [self._move(slot, *self._denoise(slot, part)) for slot, part in zip(slots, v, strict=True)]
                table = torch.stack([one.table for one in moved]).tolist()  # one wait for the device
        except BaseException:
            # Out of memory, say: no slot has moved, and the step can be taken again in smaller parts.
            for slot, state in zip(slots, before, strict=True):
                slot.generator.set_state(state)
            raise
        with repeatable():
            return [self._step(slot, one, *row) for slot, one, row in zip(slots, moved, table, strict=True)]

    def _rows(self, slots: Sequence[LatentDiffusionSlot]) -> list[Tensor]:
        """What `_v` takes, with a row for every candidate of every slot."""
        names = ("z", "draft", "blank", "text", "style")
        own = [torch.cat([getattr(slot, name) for slot in slots]) for name in names]
        negative = torch.cat(
            [torch.zeros_like(slot.text) if slot.negative is None else slot.negative for slot in slots]
        )
        per_row = [
            (slot.times[slot.index], slot.params.cfg_scale, slot.negative is None) for slot in slots for _ in slot.z
        ]
        return [*own, negative, *(to_device(values, self.device) for values in zip(*per_row, strict=True))]

    def _v(
        self,
        z: Tensor,
        draft: Tensor,
        blank: Tensor,
        text: Tensor,
        style: Tensor,
        negative: Tensor,
        time: Tensor,
        scale: Tensor,
        null: Tensor,
    ) -> Tensor:
        """Guided v of some candidates, (n, C, g, g); null: where there is no negative text."""
        with self.precision.autocast():
            tokens = torch.cat([self.model.tokens(text, style), self.model.tokens(negative, style, null)])
            both = self.model(torch.cat([z, z]), torch.cat([time, time]), torch.cat([draft, blank]), tokens)
        cond, uncond = both.float().chunk(2)
        guided: Tensor = uncond + scale.view(-1, 1, 1, 1) * (cond - uncond)
        return guided

    def _denoise(self, slot: LatentDiffusionSlot, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What each candidate is becoming: z (n, C, g, g), the pictures (n, 3, H, W), CLIP's losses and scores (n,)."""
        alpha, sigma = self._levels[slot.times[slot.index]]
        denoised = alpha * slot.z - sigma * v
        if slot.targets.aims:
            denoised = torch.lerp(denoised, slot.draft, HELD)
        if slot.params.clip_guidance_scale and slot.index >= GUIDED_FROM * slot.total:
            denoised = denoised - self._clip_grad(slot, denoised)
        images = self._shown(slot, denoised)
        return denoised, images, *compare(images, self.clips, slot.targets, "spherical", self.precision)

    def _clip_grad(self, slot: LatentDiffusionSlot, denoised: Tensor) -> Tensor:
        """CLIP's gradient at each candidate, as strong in the last step as in the first: only the decoder follows.

        A step that is taken again, in smaller parts, has the same cutouts.
        """
        generator = torch.Generator().manual_seed(slot.params.seed * slot.total + slot.index)
        return cond_fn(
            denoised,
            lambda z: self._shown(slot, z),
            slot.targets,
            self.clips,
            self.precision,
            generator,
            scale=slot.params.clip_guidance_scale,
            cutn=CUTOUTS * max(1, len(slot.targets.looked_at)),
            micro_batch=self.micro_batch,
            style_guide=self._style_guide,
            style=slot.params.style,
            style_weight=slot.params.style_weight,
        )

    def _move(
        self, slot: LatentDiffusionSlot, denoised: Tensor, images: Tensor, losses: Tensor, scores: Tensor
    ) -> _Moved:
        """Where the sampler takes a slot, and its frame on its way to the CPU, if one is due."""
        levels = [*(self._levels[time] for time in slot.times), END]
        level, following = levels[slot.index], levels[slot.index + 1]
        if slot.params.sampler != "dpm-solver-2m":
            eta = slot.params.fresh_noise
            fresh = to_device(torch.randn(slot.z.shape, generator=slot.generator), self.device) if eta else None
            z = ddim(slot.z, denoised, level, following, eta, fresh)
        else:
            before = (slot.denoised, levels[slot.index - 1]) if slot.index else None
            z = dpm_solver_2m(slot.z, denoised, level, following, before)
        best, number = losses.argmin()[None], slot.index + 1
        due = number >= slot.total or number % slot.params.save_every == 0
        frame = begin_to_cpu(images.index_select(0, best)[0]) if due else None
        told = (z.isfinite().all()[None].float(), best.float(), losses.gather(0, best), scores.gather(0, best))
        return _Moved(z, denoised, following, frame, torch.cat(told))

    def _step(
        self, slot: LatentDiffusionSlot, moved: _Moved, finite: float, best: float, loss: float, score: float
    ) -> Step:
        """The slot at its next level; its Step shows the candidate that CLIP likes best."""
        slot.z, slot.denoised, slot.index = moved.z, moved.denoised, slot.index + 1
        slot.hold(moved.level)
        slot.done = slot.index >= slot.total
        if not finite:
            return not_finite(slot, f"cfg_scale {slot.params.cfg_scale:g}", "cfg_scale")
        picture = None if moved.frame is None else moved.frame.clone()
        made = Step(slot.index, slot.total, picture, score, {"prompts": loss}, slot.done)
        if not slot.done or slot.params.init_image:
            return made
        layout, draft = self.drafter.layout, slot.draft[int(best) : int(best) + 1]
        return replace(made, draft=forming(draft, layout, self.vqgan, self.precision, slot.params.actual_size))

    def _shown(self, slot: LatentDiffusionSlot, denoised: Tensor) -> Tensor:
        """Decoded, with what the slot keeps laid over it."""
        images = self._decode(denoised)
        return images if slot.kept is None else slot.kept.over(images)

    def _decode(self, denoised: Tensor) -> Tensor:
        """(n, C, g, g) -> pictures (n, 3, H, W) float32 in [0, 1], from the nearest codes."""
        z_q = self.vqgan.quantise(denoised)[0]
        with self.precision.autocast():
            return self.vqgan.decode(z_q).float().clamp(0, 1)
