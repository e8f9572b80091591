"""Latent diffusion (Rombach et al. 2022, arXiv:2112.10752): noise is taken off z step by step, steered by the text.

Per step and batch: one pass of the UNet over every candidate of every slot, with and without its text (classifier-free
guidance), one step of the sampler, and a look by CLIP at what each candidate is becoming; the best is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from generator.checkpoints import load_clip, load_latent_diffusion, load_layout, load_vqgan
from generator.clip import ClipModel
from generator.drafts import draft
from generator.engine import NotFinite, Step
from generator.guidance import Clip, Targets, prompt_targets
from generator.latent_unet import TRAIN_STEPS, LatentDiffusionModel, alphas
from generator.layout import Layout
from generator.look import compare
from generator.params import LatentDiffusionParams
from generator.pictures import cover, no_picture, to_tensor
from generator.precision import Precision, repeatable
from generator.samplers import ddim, dpm_solver_2m, timesteps_between
from generator.vqgan import VQGAN

STATE_VERSION = 1
TENSORS = ("z", "clean", "draft", "blank", "text", "avoided", "style")  # of a slot
END = (1.0, 0.0)  # alpha and sigma where no noise is left


@dataclass
class LatentDiffusionSlot:
    """One picture in progress, with all its candidates (n).

    z, clean, draft, blank: (n, C, g, g) float32, clean the last step's prediction; text: (n, W) unit vectors turned a
    little by the seed; avoided: (n, W) or None; style: (n,) their numbers; index: steps made.
    """

    params: LatentDiffusionParams
    targets: Targets
    generator: torch.Generator
    z: Tensor
    clean: Tensor
    draft: Tensor
    blank: Tensor
    text: Tensor
    avoided: Tensor | None
    style: Tensor
    index: int = 0
    done: bool = False

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on elsewhere; torch.load(weights_only=True) reads it back."""
        tensors = {name: getattr(self, name) for name in TENSORS}
        return {
            "version": STATE_VERSION,
            "index": self.index,
            "done": self.done,
            "rng": self.generator.get_state(),
            "targets": self.targets.state_dict(),
            **{name: None if value is None else value.detach().cpu().clone() for name, value in tensors.items()},
        }

    @property
    def times(self) -> list[int]:
        """The timesteps (999 .. 0) at which the steps are made."""
        return timesteps_between(TRAIN_STEPS - 1, self.params.steps)[-self.total :]

    @property
    def total(self) -> int:
        return self.params.total_steps


class LatentDiffusion:
    """The engine: weights on a device, slots advanced together.

    The first Step of a slot (index 1) is its first sampling step; the last has index == total and done=True.
    micro_batch: candidates per pass of the UNet, None for all; may be changed between any two steps.
    """

    name = "latent-diffusion"

    def __init__(
        self,
        checkpoint: str,
        clip: tuple[str, ...],
        *,
        device: str,
        checkpoints_dir: str,
        read_image: Callable[[str], Image.Image],
    ) -> None:
        """Raises generator.checkpoints.CheckpointMissing, CheckpointDamaged."""
        clips = [load_clip(name, checkpoints_dir, device) for name in clip]
        reader = next((c for c in clips if c.name == "mini"), None) or load_clip("mini", checkpoints_dir, device)
        models = load_latent_diffusion(device), load_layout(device), load_vqgan("mini", checkpoints_dir, device)
        self._take(*models, reader, clips, device, read_image, None)

    @classmethod
    def from_models(
        cls,
        model: LatentDiffusionModel,
        layout: Layout,
        vqgan: VQGAN,
        reader: ClipModel,
        clips: Sequence[Clip],
        *,
        device: str = "cpu",
        read_image: Callable[[str], Image.Image] | None = None,
        precision: torch.dtype | None = None,
    ) -> LatentDiffusion:
        """An engine on models already built. precision: of the matrix products; None for the device's best."""
        engine = cls.__new__(cls)
        engine._take(model, layout, vqgan, reader, list(clips), device, read_image or no_picture, precision)
        return engine

    def _take(
        self,
        model: LatentDiffusionModel,
        layout: Layout,
        vqgan: VQGAN,
        reader: ClipModel,
        clips: list[Any],
        device: str,
        read_image: Callable[[str], Image.Image],
        precision: torch.dtype | None,
    ) -> None:
        self.device = torch.device(device)
        self.precision = Precision(self.device, precision) if precision else Precision.best(self.device)
        self.micro_batch: int | None = None
        self.model, self.layout, self.vqgan, self.reader, self.clips = model, layout, vqgan, reader, clips
        self._read_image = read_image
        for part in (model, layout, vqgan, reader, *clips):
            part.requires_grad_(False).eval().to(self.device)
        squared = alphas().double()
        self._levels = list(zip(squared.sqrt().tolist(), (1 - squared).sqrt().tolist(), strict=True))

    @torch.no_grad()
    def open(self, params: LatentDiffusionParams) -> LatentDiffusionSlot:
        """Reads the prompt and makes the noise.

        Raises generator.clip.PromptTooLong, generator.layout.UnknownStyle, and what `read_image` raises.
        """
        generator = torch.Generator().manual_seed(params.seed)
        seeds = torch.randint(2**62, (params.candidates,), generator=generator).tolist()
        with repeatable():
            targets = prompt_targets(params.prompt, "", self.clips, self._read_image, self.precision)
            wanted = self._read([p for p in params.prompts if p.weight > 0])
            avoided = [p for p in params.prompts if p.weight < 0]

            def distance(z: Tensor) -> Tensor:
                return compare(self._decode(z), self.clips, targets, "spherical", self.precision)[0]

            drafts = draft(self.layout, wanted, seeds, params.style, params.variety, distance)
            blank = self.layout(torch.zeros_like(drafts.text), drafts.style)
            z = torch.randn(drafts.z.shape, generator=generator).to(self.device)
            not_this = self._read(avoided).expand(len(seeds), -1) if avoided else None
            slot = LatentDiffusionSlot(
                params,
                targets,
                generator,
                z,
                torch.zeros_like(z),
                drafts.z,
                blank,
                drafts.text,
                not_this,
                drafts.style,
            )
            if params.init_image:
                picture = to_tensor(cover(self._read_image(params.init_image), *params.actual_size))
                start = self.vqgan.encode(picture[None].to(self.device)).float()
                alpha, sigma = self._levels[slot.times[0]]
                slot.z = alpha * start + sigma * z
        return slot

    def _read(self, prompts: Sequence[Any]) -> Tensor:
        """The weighted mean of the prompts' vectors, of unit length: (W,)."""
        vectors = self.reader.text_features([p.text for p in prompts]).to(self.device)
        weights = torch.tensor([abs(p.weight) for p in prompts], device=self.device)
        return F.normalize((weights[:, None] * vectors).sum(dim=0), dim=0)

    def resume(self, params: LatentDiffusionParams, state: dict[str, Any]) -> LatentDiffusionSlot:
        """A slot that goes on from `state_dict()`, on this device. Raises ValueError for a state of another kind."""
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"saved state has version {state.get('version')!r}; this engine reads {STATE_VERSION}.")
        generator = torch.Generator()
        generator.set_state(state["rng"])
        targets = Targets.from_state(state["targets"], self.device)
        tensors: Any = {name: None if state[name] is None else state[name].to(self.device) for name in TENSORS}
        place = {name: state[name] for name in ("index", "done")}
        return LatentDiffusionSlot(params, targets, generator, **tensors, **place)

    @torch.no_grad()
    def advance(self, slots: Sequence[LatentDiffusionSlot]) -> list[Step]:
        """One step of each slot in shared passes. A slot whose numbers are no longer finite gets a Step with
        error=NotFinite; the others go on. Raises ValueError for a slot that is done."""
        if any(slot.done for slot in slots):
            raise ValueError("a slot that is done cannot be advanced.")
        rows = [row for slot in slots for row in range(len(slot.z))]
        chunk = self.micro_batch or len(rows)
        with repeatable():
            v = torch.cat([self._v(slots, start, start + chunk) for start in range(0, len(rows), chunk)])
            ends = torch.tensor([len(slot.z) for slot in slots]).cumsum(0).tolist()
            guesses = [self._guess(slot, v[end - len(slot.z) : end]) for slot, end in zip(slots, ends, strict=True)]
            # Only now does a slot move: whoever runs out of memory before may take the step again in smaller parts.
            return [self._step(slot, *guess) for slot, guess in zip(slots, guesses, strict=True)]

    def _v(self, slots: Sequence[LatentDiffusionSlot], start: int, stop: int) -> Tensor:
        """Guided v of the candidates numbered start to stop over all slots, (rows, C, g, g)."""

        def rows(values: list[Tensor]) -> Tensor:
            return torch.cat(values)[start:stop]

        z = rows([slot.z for slot in slots])
        counts = [len(slot.z) for slot in slots]
        time = rows(
            [torch.full((n,), s.times[s.index], device=self.device) for s, n in zip(slots, counts, strict=True)]
        )
        style = rows([slot.style for slot in slots])
        scale = rows([torch.full((n,), s.params.cfg_scale) for s, n in zip(slots, counts, strict=True)])
        text, draft = rows([slot.text for slot in slots]), rows([slot.draft for slot in slots])
        blank = rows([slot.blank for slot in slots])
        avoided = rows([torch.zeros_like(s.text) if s.avoided is None else s.avoided for s in slots])
        null = rows(
            [torch.full((n,), s.avoided is None, device=self.device) for s, n in zip(slots, counts, strict=True)]
        )
        with self.precision.autocast():
            tokens = torch.cat([self.model.tokens(text, style), self.model.tokens(avoided, style, null)])
            both = self.model(torch.cat([z, z]), torch.cat([time, time]), torch.cat([draft, blank]), tokens)
        told, free = both.float().chunk(2)
        return free + scale.to(self.device).view(-1, 1, 1, 1) * (told - free)

    def _guess(self, slot: LatentDiffusionSlot, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What each candidate is becoming: z (n, C, g, g), the pictures (n, 3, H, W), CLIP's losses and scores (n,)."""
        alpha, sigma = self._levels[slot.times[slot.index]]
        clean = alpha * slot.z - sigma * v
        images = self._decode(clean)
        return clean, images, *compare(images, self.clips, slot.targets, "spherical", self.precision)

    def _step(self, slot: LatentDiffusionSlot, clean: Tensor, images: Tensor, losses: Tensor, scores: Tensor) -> Step:
        """Moves the slot to its next level; its Step shows the candidate that CLIP likes best."""
        levels = [*(self._levels[time] for time in slot.times), END]
        level, following = levels[slot.index], levels[slot.index + 1]
        if slot.params.sampler != "dpm-solver-2m":
            eta = slot.params.fresh_noise
            fresh = torch.randn(slot.z.shape, generator=slot.generator).to(self.device) if eta else None
            z = ddim(slot.z, clean, level, following, eta, fresh)
        else:
            before = (slot.clean, levels[slot.index - 1]) if slot.index else None
            z = dpm_solver_2m(slot.z, clean, level, following, before)
        slot.z, slot.clean, slot.index = z, clean, slot.index + 1
        slot.done = slot.index >= slot.total
        if not bool(z.isfinite().all()):
            slot.done = True
            error = NotFinite(
                f"The numbers stopped being finite at step {slot.index} of {slot.total} "
                f"(cfg_scale {slot.params.cfg_scale:g}). Try a smaller cfg_scale."
            )
            return Step(slot.index, slot.total, None, float("nan"), {}, True, error)
        best = int(losses.argmin())
        due = slot.done or slot.index % slot.params.save_every == 0
        picture = images[best].cpu().contiguous() if due else None
        return Step(slot.index, slot.total, picture, float(scores[best]), {"prompts": float(losses[best])}, slot.done)

    def _decode(self, clean: Tensor) -> Tensor:
        """(n, C, g, g) -> pictures (n, 3, H, W) float32 in [0, 1], from the nearest codes."""
        z_q = self.vqgan.quantise(clean)[0]
        with self.precision.autocast():
            return self.vqgan.decode(z_q).float().clamp(0, 1)
