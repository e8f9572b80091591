"""VQGAN + CLIP (Crowson et al. 2022, arXiv:2204.08583): z is optimised until CLIP sees the prompts in decode(z).

Per step and batch: quantise z with a straight-through gradient, decode every picture once, cut all cutouts of all
pictures in one resampling, embed them in one pass (or `micro_batch` at a time), and carry the summed gradient back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from generator.checkpoints import load_clip, load_vqgan
from generator.cutouts import cut, draw
from generator.engine import NotFinite, Step
from generator.guidance import Clip, Targets, guide, prompt_targets, total_variation
from generator.params import VqganClipParams
from generator.precision import Precision, recomputed, repeatable
from generator.slots import STATE_VERSION, VqganClipSlot
from generator.starts import DraftCodes, MiniDrafts, Quantised, start_z


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
        checkpoint: str,
        clip: tuple[str, ...],
        *,
        device: str,
        checkpoints_dir: str,
        read_image: Callable[[str], Image.Image],
    ) -> None:
        """Raises generator.checkpoints.CheckpointMissing, CheckpointDamaged."""
        vqgan = load_vqgan(checkpoint, checkpoints_dir, device)
        clips = [load_clip(name, checkpoints_dir, device) for name in clip]
        drafts = MiniDrafts(Precision.best(torch.device(device)), clips) if checkpoint == "mini" else None
        self._take(vqgan, clips, drafts, device, read_image, None)

    @classmethod
    def from_models(
        cls,
        vqgan: Quantised,
        clips: Sequence[Clip],
        *,
        draft_codes: DraftCodes | None = None,
        device: str = "cpu",
        read_image: Callable[[str], Image.Image] | None = None,
        precision: torch.dtype | None = None,
    ) -> VqganClip:
        """An engine on models already built. precision: of the matrix products; None for the device's best."""
        engine = cls.__new__(cls)
        engine._take(vqgan, list(clips), draft_codes, device, read_image or _no_image, precision)
        return engine

    def _take(
        self,
        vqgan: Any,
        clips: list[Any],
        draft_codes: DraftCodes | None,
        device: str,
        read_image: Callable[[str], Image.Image],
        precision: torch.dtype | None,
    ) -> None:
        self.device = torch.device(device)
        self.precision = Precision(self.device, precision) if precision else Precision.best(self.device)
        self.micro_batch: int | None = None
        self.vqgan, self.clips = vqgan, clips
        self._draft_codes, self._read_image = draft_codes, read_image
        for model in (vqgan, *clips):
            model.requires_grad_(False).eval().to(self.device, memory_format=self.precision.memory_format)
        self.precision.narrow(vqgan.decoder)
        for clip in clips:
            self.precision.narrow(clip.network.visual)
        codebook = vqgan.codebook.detach().float()
        self._low = codebook.amin(0).view(1, -1, 1, 1)
        self._high = codebook.amax(0).view(1, -1, 1, 1)

    def open(self, params: VqganClipParams) -> VqganClipSlot:
        """Embeds the prompts and makes the start.

        Raises generator.clip.PromptTooLong, and what `read_image` raises for a picture it cannot read.
        """
        generator = torch.Generator().manual_seed(params.seed)
        with repeatable():
            targets = prompt_targets(params, self.clips, self._read_image, self.precision)
            start = start_z(
                params,
                self.vqgan,
                self.clips,
                targets,
                generator,
                draft_codes=self._draft_codes,
                read_image=self._read_image,
                precision=self.precision,
            ).contiguous()
        return self._slot(params, targets, generator, start.clone(), start)

    def resume(self, params: VqganClipParams, state: dict[str, Any]) -> VqganClipSlot:
        """A slot that goes on from `state_dict()`, on this device. Raises ValueError for a state of another kind."""
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"saved state has version {state.get('version')!r}; this engine reads {STATE_VERSION}.")
        generator = torch.Generator()
        generator.set_state(state["rng"])
        targets = Targets.from_state(state["targets"], self.device)
        slot = self._slot(params, targets, generator, state["z"].to(self.device), state["start"].to(self.device))
        slot.index, slot.done = state["index"], state["done"]
        slot.optimiser.load_state_dict(state["optimiser"])
        slot.average = None if state["average"] is None else state["average"].to(self.device, copy=True)
        slot.smoothed, slot.best, stale = state["patience"]
        slot.stale = int(stale)
        return slot

    def _slot(
        self, params: VqganClipParams, targets: Targets, generator: torch.Generator, z: Tensor, start: Tensor
    ) -> VqganClipSlot:
        z = z.clone().requires_grad_()
        optimiser = getattr(torch.optim, params.optimiser)([z], lr=params.learning_rate)
        average = z.detach().clone() if params.ema > 0 else None
        return VqganClipSlot(params, targets, generator, z, start, average, optimiser)

    def advance(self, slots: Sequence[VqganClipSlot]) -> list[Step]:
        """One step of each slot; slots of the same size share one forward and backward.

        A slot whose numbers are no longer finite gets a Step with error=NotFinite; the others go on.
        Raises ValueError for a slot that is done.
        """
        if any(slot.done for slot in slots):
            raise ValueError("a slot that is done cannot be advanced.")
        sizes: dict[torch.Size, list[int]] = {}
        for i, slot in enumerate(slots):
            sizes.setdefault(slot.z.shape, []).append(i)
        steps: dict[int, Step] = {}
        before = [slot.mark() for slot in slots]
        try:
            with repeatable():
                for members in sizes.values():
                    steps.update(zip(members, self._advance([slots[i] for i in members]), strict=True))
        except BaseException:
            # Out of memory, say: whoever halves the batch and tries again makes the same picture.
            for slot, mark in zip(slots, before, strict=True):
                slot.rewind(mark)
            raise
        return [steps[i] for i in range(len(slots))]

    def _advance(self, slots: list[VqganClipSlot]) -> list[Step]:
        """As `advance`, for slots of one size."""
        moving = [slot.index < slot.params.total_steps for slot in slots]
        learn = any(moving)
        with torch.set_grad_enabled(learn):
            z = torch.cat([slot.z if moves else slot.z.detach() for slot, moves in zip(slots, moving, strict=True)])
            images = self._decode(z, any(slot.params.checkpoint_activations for slot in slots))
            seen = images.detach().requires_grad_(learn)
            losses, scores = self._look(seen, slots, moving)
            if learn:
                images.backward(seen.grad)
        pulls = self._pull(slots, moving)
        finite = torch.stack([_finite(slot.z, slot.z.grad, image) for slot, image in zip(slots, images, strict=True)])
        table = torch.cat([losses, scores[:, None], pulls[:, None], finite[:, None].float()], 1).tolist()
        steps = []
        for slot, row in zip(slots, table, strict=True):
            if not row[-1] or not all(abs(value) < float("inf") for value in row):
                steps.append(_failed(slot))
            else:
                slot.settle(row[2])
                terms = {"prompts": row[0], "tv": row[1], "pull": row[3]}
                steps.append(Step(slot.index, slot.params.total_steps, None, row[2], terms, slot.done))
        steps = self._show(slots, steps, images)
        for slot in slots:
            if not slot.done:
                slot.update(self._low, self._high)
        return steps

    def _decode(self, z: Tensor, twice: bool = False) -> Tensor:
        """(B, e_dim, h, w) -> (B, 3, H, W) float32 in [0, 1]; twice: computed again for the backward pass."""
        z_q = self.vqgan.quantise(z)[0]  # in full precision: rounded distances choose other codes
        with self.precision.autocast(), recomputed(self.vqgan.decoder) if twice else contextlib.nullcontext():
            return self.vqgan.decode(z_q).float()

    def _look(self, seen: Tensor, slots: list[VqganClipSlot], moving: list[bool]) -> tuple[Tensor, Tensor]:
        """Shows the pictures to every CLIP: loss terms (B, 2: prompts, tv) and scores (B,).

        The gradient of every moving slot's loss is added to seen.grad, `micro_batch` cutouts at a time.
        """
        losses, scores = torch.zeros(len(slots), 2, device=self.device), torch.zeros(len(slots), device=self.device)
        for b, slot in enumerate(slots):
            if slot.params.tv_weight:
                term = slot.params.tv_weight * total_variation(seen[b])
                losses[b, 1] = term.detach()
                if moving[b]:
                    term.backward()
        height, width = seen.shape[2:]
        plans_by_side: dict[int, list[Any]] = {}
        for which, clip in enumerate(self.clips):
            side = clip.resolution
            if side not in plans_by_side:
                plans_by_side[side] = [draw(s.params, width, height, side, s.generator) for s in slots]
            plans = plans_by_side[side]
            ends = torch.tensor([len(plan) for plan in plans]).cumsum(0).tolist()
            chunk = self.micro_batch or ends[-1]
            for start in range(0, ends[-1], chunk):
                stop = min(start + chunk, ends[-1])
                cutouts = cut(seen, plans, side, start, stop)
                with self.precision.autocast():
                    embeddings = clip.encode_image(cutouts).float()
                total = torch.zeros((), device=self.device)
                for b, slot in enumerate(slots):
                    share = slice(max(ends[b] - len(plans[b]), start) - start, max(min(ends[b], stop) - start, 0))
                    part = embeddings[share]
                    if share.start >= share.stop:
                        continue
                    loss, score = guide(part, slot.targets, which, slot.params.loss)
                    loss, score = (v.sum() / (len(plans[b]) * len(self.clips)) for v in (loss, score))
                    losses[b, 0] += loss.detach()
                    scores[b] += score
                    if moving[b]:
                        total = total + loss
                if total.requires_grad:
                    total.backward()
        return losses, scores

    def _pull(self, slots: list[VqganClipSlot], moving: list[bool]) -> Tensor:
        """Adds the gradient of init_weight * mean((z - start)^2) / 2 to each moving z; the terms, (B,)."""
        terms = torch.zeros(len(slots), device=self.device)
        for b, slot in enumerate(slots):
            weight = slot.params.init_weight * (1 - slot.params.init_weight_decay) ** slot.index
            if weight:
                away = slot.z.detach() - slot.start
                terms[b] = weight * away.square().mean() / 2
                if moving[b] and slot.z.grad is not None:
                    slot.z.grad.add_(away, alpha=weight / away.numel())
        return terms

    @torch.no_grad()
    def _show(self, slots: list[VqganClipSlot], steps: list[Step], images: Tensor) -> list[Step]:
        """The steps with the pictures that are due, on the CPU."""
        due = [
            b
            for b, (slot, step) in enumerate(zip(slots, steps, strict=True))
            if not step.error and (step.done or step.index % slot.params.save_every == 0)
        ]
        if not due:
            return steps
        shown = images.detach()
        averages = [b for b in due if slots[b].average is not None]
        if averages:
            shown = shown.clone()
            shown[averages] = self._decode(torch.cat([slots[b].average for b in averages]))  # type: ignore[misc]
        for b, picture in zip(due, shown[due].cpu(), strict=True):
            steps[b] = Step(**{**vars(steps[b]), "image": picture.clamp(0, 1).contiguous()})
        return steps


def _finite(*tensors: Tensor | None) -> Tensor:
    return torch.stack([t.detach().isfinite().all() for t in tensors if t is not None]).all()


def _failed(slot: VqganClipSlot) -> Step:
    slot.done = True
    error = NotFinite(
        f"The numbers stopped being finite at step {slot.index} of {slot.params.total_steps} "
        f"(learning_rate {slot.params.learning_rate:g}, {slot.params.optimiser}). Try a smaller learning_rate."
    )
    return Step(slot.index, slot.params.total_steps, None, float("nan"), {}, True, error)


def _no_image(reference: str) -> Image.Image:
    raise FileNotFoundError(f"This engine was made without a way to read pictures; {reference!r} was asked for.")
