"""CLIP-guided diffusion (Crowson 2021; Dhariwal and Nichol 2021, arXiv:2105.05233, algorithm 2).

Per step and batch: denoised = model(x, t); the guidance around it shows cutouts of the denoised pictures to CLIP, takes
the gradient of the losses at them ("x0") or through the network at x ("unet"; "x_in" where CLIP sees denoised and noisy
picture mixed) and moves them against it; a sampler moves every x to its next noise level. What a mask keeps of a
picture is put back at every level, noised as far as that (RePaint, Lugmayr et al. 2022, arXiv:2201.09865, eq. 8).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from generator import registry
from generator.checkpoints.embedded import load_finisher
from generator.checkpoints.errors import CheckpointMissing
from generator.checkpoints.loading import load_clip, load_diffusion, load_lpips
from generator.checkpoints.store import require_all
from generator.device import Host
from generator.engines.base import Step, not_finite
from generator.engines.batching import advance_by_shape, is_exact
from generator.engines.guided_diffusion_slot import GuidedDiffusionSlot
from generator.guidance.clip_loss import along, clip_loss, draw_plain
from generator.guidance.cutouts import Plan, draw_scheduled
from generator.guidance.style import StyleGuide, load_style_guide
from generator.guidance.targets import prompt_targets, total_variation
from generator.images.convert import cover, no_picture, to_tensor
from generator.models.contracts import Clip, Denoiser, Lpips
from generator.params import GuidedDiffusionParams
from generator.precision import Precision, repeatable
from generator.registry.rows import Checkpoint
from generator.sampling.samplers import ddim, dpm_solver_2m, timesteps_between
from generator.starts.drafts import MiniPictures
from generator.starts.masks import read_kept
from generator.starts.perlin import perlin_picture
from generator.starts.scenes import Composer
from generator.transfer import begin_to_cpu, to_device

END = (1.0, 0.0)  # alpha and sigma where no noise is left
FARTHEST = 1e4  # that x0 may be moved; a network that sees noise only is off by 100, great scales would overflow
TERMS = ("prompts", "style", "tv", "range", "sat", "init")  # of the loss


class GuidedDiffusion:
    """The engine: weights on a device, slots advanced together.

    The first Step of a slot has index 0 and shows what the network sees in the noise; the last has index == total and
    done=True and shows the finished picture. The picture of a Step is the denoised one that CLIP scored (with
    grad_through="x_in", the denoised part of the mixture that it scored).
    micro_batch: cutouts per CLIP pass, None for all; may be changed between any two steps.
    """

    name = "guided-diffusion"

    def __init__(
        self,
        model: Denoiser,
        clips: Sequence[Clip],
        *,
        drafts: MiniPictures | None = None,
        style_guide: StyleGuide | None = None,
        lpips: Lpips | None = None,
        checkpoints_dir: Path = Path(),
        device: str = "cpu",
        read_image: Callable[[str], Image.Image] = no_picture,
        precision: torch.dtype | None = None,
    ) -> None:
        """On models already built. lpips: None to load it from checkpoints_dir where a picture asks for it.

        precision: of the matrix products; None for the device's best.
        """
        self.device = torch.device(device)
        self.precision = Precision.best(self.device, precision)
        self.micro_batch: int | None = None
        self.exact: bool | None = None
        self.model, self.clips, self.drafts, self._read_image = model, clips, drafts, read_image
        self._style_guide = style_guide
        self._lpips, self._checkpoints_dir = lpips, checkpoints_dir
        self.precision.freeze(model, *clips)
        self.precision.narrow(*getattr(model, "narrowed", (model,)), *(clip.network.visual for clip in clips))
        squared = model.alphas_cumprod.double().cpu()
        self._levels: list[tuple[float, float]] = list(
            zip(squared.sqrt().tolist(), (1 - squared).sqrt().tolist(), strict=True)
        )

    @classmethod
    def load(cls, checkpoint: Checkpoint, clips: Sequence[Checkpoint], host: Host) -> GuidedDiffusion:
        """On the weights of a checkpoint. Raises CheckpointMissing, CheckpointDamaged."""
        require_all((checkpoint, *clips), host.checkpoints_dir)
        guides = [load_clip(clip, host) for clip in clips]
        model = load_diffusion(checkpoint, host)
        common: Any = {
            "checkpoints_dir": host.checkpoints_dir, "device": host.device, "read_image": host.read_image
        }  # fmt: skip
        if not checkpoint.embedded:
            return cls(model, guides, **common)
        precision = Precision.best(torch.device(host.device))
        drafts = MiniPictures(precision, guides, host, Composer(load_finisher(host.device), guides, precision))
        return cls(model, guides, drafts=drafts, style_guide=load_style_guide(guides, host), **common)

    def open(self, params: GuidedDiffusionParams) -> GuidedDiffusionSlot:
        """Embeds the prompts and makes the start.

        Raises PromptTooLong, UnknownStyle, ValueError for a mask without white, what `read_image` raises, and
        CheckpointMissing where init_loss needs LPIPS.
        """
        if params.loss_networks:
            self._load_lpips(params)
        self.model.style_index(params.known_style)
        generator = torch.Generator().manual_seed(params.seed)
        width, height = params.actual_size
        kept = read_kept(params, self._read_image, self.device)
        with repeatable():
            stages = [
                (s.step, prompt_targets(s.prompts, params.image_prompts, self.clips, self._read_image, self.precision))
                for s in params.stages
            ]
        x = noise = torch.randn(1, 3, height, width, generator=generator).to(self.device)
        start, draft = None, None
        if params.init != "noise":
            if params.init == "perlin":
                picture = perlin_picture(width, height, params.perlin_mode, generator)
            elif params.init == "prior":
                if self.drafts is None:
                    raise ValueError("init=prior needs a prior for this checkpoint; use noise, image or perlin.")
                begun = sum(step <= params.skipped for step, _ in stages)
                prompts, targets = params.stages[begun - 1].prompts, stages[begun - 1][1]
                with repeatable():
                    begun_with = self.drafts(params, prompts, targets, generator, kept)
                picture, draft, kept = begun_with.picture, begun_with.z, begun_with.kept
                stages[begun - 1] = stages[begun - 1][0], begun_with.targets
            else:
                assert params.init_image is not None
                picture = to_tensor(cover(self._read_image(params.init_image), width, height))
            start = picture[None].to(self.device) * 2 - 1
            alpha, sigma = self._levels[self._times(params)[0]]
            x = alpha * start + sigma * noise
        if params.mirrored_at == params.skipped:
            x = _mirrored(x, params)
        slot = GuidedDiffusionSlot(params, stages, generator, x, start, draft=draft)
        if kept is not None:
            slot.kept, slot.noise = kept, noise
            slot.hold(self._levels[self._times(params)[0]])
        return slot

    def resume(self, params: GuidedDiffusionParams, state: dict[str, Any]) -> GuidedDiffusionSlot:
        """A slot that goes on from `state_dict()`, on this device. Raises ValueError for a state of another kind."""
        if params.loss_networks:
            self._load_lpips(params)
        return GuidedDiffusionSlot.from_state(params, state, self.device)

    def _times(self, params: GuidedDiffusionParams) -> list[int]:
        """The timesteps at which a picture's steps are made."""
        return timesteps_between(len(self._levels) - 1, params.steps)[params.skipped :]

    def advance(self, slots: Sequence[GuidedDiffusionSlot]) -> list[Step]:
        """One step of each slot; unless `exact`, those of the same size share every pass.

        A slot whose numbers are no longer finite gets a Step with error=NotFinite; the others go on.
        Raises ValueError for a slot that is done.
        """
        return advance_by_shape(slots, self._advance, is_exact(self.exact, self.device))

    def _advance(self, slots: list[GuidedDiffusionSlot]) -> list[Step]:
        """As `advance`, for slots of one size."""
        denoised, guided, terms, scores = self._guided(torch.cat([slot.x for slot in slots]), slots)
        frames = {
            b: begin_to_cpu(((denoised[b] + 1) / 2).clamp(0, 1))
            for b, slot in enumerate(slots)
            if not slot.moves or slot.index % slot.params.save_every == 0
        }
        finite = (denoised.isfinite() & guided.isfinite()).flatten(1).all(1)
        table = torch.cat([terms, scores[:, None], finite[:, None].float()], 1).tolist()  # one wait for the device
        steps = []
        for b, (slot, row) in enumerate(zip(slots, table, strict=True)):
            if not row[-1] or not all(abs(value) < float("inf") for value in row):
                scale, limit = slot.params.clip_guidance_scale, slot.params.clamp_max
                settings = f"clip_guidance_scale {scale:g}, clamp_max {limit:g}"
                steps.append(not_finite(slot, settings, "clip_guidance_scale"))
                continue
            slot.done = not slot.moves
            image = frames[b].clone() if b in frames else None
            losses = dict(zip(TERMS, row, strict=False))
            draft = self._forming(slot) if slot.done else None
            steps.append(
                Step(slot.index, slot.params.total_steps, image, row[len(TERMS)], losses, slot.done, draft=draft)
            )
            if not slot.done:
                self._move(slot, guided[b : b + 1])
        return steps

    def _forming(self, slot: GuidedDiffusionSlot) -> Tensor | None:
        if slot.draft is None or self.drafts is None:
            return None
        return self.drafts.forming(slot.draft, slot.params.actual_size)

    def _model(self, x: Tensor, times: Sequence[int], slots: Sequence[GuidedDiffusionSlot]) -> Tensor:
        """The denoiser: x (B, 3, H, W), a slot and its timestep for each -> x0 as the network sees it, float32.

        The level is a timestep, not a sigma: the last timesteps of a clamped schedule share one sigma.
        """
        t = to_device(times, self.device)
        style = to_device([self.model.style_index(slot.params.known_style) for slot in slots], self.device)
        if hasattr(self.model, "recompute"):
            self.model.recompute = any(slot.params.checkpoint_activations for slot in slots)
        with self.precision.autocast():
            return self.model.denoise(x, t, style)

    def _guided(self, x: Tensor, slots: list[GuidedDiffusionSlot]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The guidance around the denoiser: denoised x0, composed with what is kept, and guided x0 (B, 3, H, W), loss
        terms (B, TERMS), scores (B,).

        Where no noise is left, x (B, 3, H, W) is x0: the network is not asked, and nothing is guided.
        """
        moving = [b for b, slot in enumerate(slots) if slot.moves]
        if not moving:
            x = _composed(x, slots)
            terms, scores, _ = self._cond_fn(x, slots)
            return x, x, terms, scores
        noisy_slots = [slots[b] for b in moving]
        times = [self._times(slot.params)[slot.index] for slot in noisy_slots]
        through = [slot.params.through_unet for slot in noisy_slots]
        at = to_device(moving, self.device)
        noisy = x[at].requires_grad_(any(through))
        with torch.set_grad_enabled(any(through)):
            x0 = self._model(noisy, times, noisy_slots)
        denoised, seen, guided = x.clone(), x.clone(), x.clone()
        denoised[at] = x0.detach()
        # x_in = f x0 + (1 - f) x with f = sigma: what the network leaves open, CLIP sees as it is.
        mixing = zip(times, noisy_slots, strict=True)
        shares = [self._levels[t][1] if slot.params.mixes_noise else 1.0 for t, slot in mixing]
        share, of_x = (to_device(values, self.device).view(-1, 1, 1, 1) for values in (shares, through))
        seen[at] = torch.where(share < 1, share * x0.detach() + (1 - share) * noisy.detach(), x0.detach())
        composed = _composed(denoised, slots)
        terms, scores, gradient = self._cond_fn(_composed(seen, slots), slots)
        for b, slot in enumerate(slots):
            if slot.kept is not None:
                gradient[b] *= slot.kept.mask / 255
                denoised[b] = slot.kept.hold(denoised[b : b + 1], slot.kept.image[None] * 2 - 1)[0]
        if any(through):
            along(x0, share * gradient[at]).backward()
            assert noisy.grad is not None
            at_x = noisy.grad + (1 - share) * gradient[at]
            gradient[at] = torch.where(of_x, at_x, gradient[at])
        for b, t in zip(moving, times, strict=True):
            guided[b] = self._moved_against(gradient[b], denoised[b], t, slots[b].params)
        return composed, guided, terms, scores

    def _cond_fn(self, denoised: Tensor, slots: list[GuidedDiffusionSlot]) -> tuple[Tensor, Tensor, Tensor]:
        """Loss terms (B, TERMS), scores (B,), and the gradient of their scaled sum.

        denoised: (B, 3, H, W), what CLIP is to look at.

        Every term is as it was before its scale, the style's with its weight beside the prompts'; the gradient is
        (B, 3, H, W), zero where a slot no longer moves.
        """
        terms = torch.zeros(len(slots), len(TERMS), device=self.device)
        scores = torch.zeros(len(slots), device=self.device)
        guided = [slot.moves and slot.params.clip_guidance_scale > 0 for slot in slots]
        clip_grad = torch.zeros_like(denoised)
        turns = [slot.params.cutn_batches for slot in slots]
        rounds = to_device(turns, self.device)
        for turn in range(max(turns)):
            # A slot that is content with fewer rounds leaves the later ones out.
            rows = [b for b, slot in enumerate(slots) if turn < slot.params.cutn_batches]
            guided_rows = [guided[b] for b in rows]
            at = to_device(rows, self.device)
            seen = ((denoised[at] + 1) / 2).requires_grad_(any(guided_rows))
            losses, score = clip_loss(
                seen, [slots[b] for b in rows], guided_rows, self.clips, self.precision, self.micro_batch, self._cuts
            )
            terms[at, 0] += losses
            scores[at] += score
            if seen.grad is not None:
                clip_grad[at] += seen.grad
        terms[:, 0] /= rounds
        if self._style_guide:  # it draws nothing at random: once stands for all rounds
            seen = ((denoised + 1) / 2).requires_grad_(any(guided))
            terms[:, 1] = self._style_guide.style_loss(seen, slots, guided)
            if seen.grad is not None:
                clip_grad += seen.grad * rounds.view(-1, 1, 1, 1)
        gradient = torch.zeros_like(denoised)
        for b, slot in enumerate(slots):
            if not slot.moves:
                continue
            params = slot.params
            if guided[b]:
                scale = params.clip_guidance_scale / 2 / params.cutn_batches  # x0 spans 2, seen 1
                gradient[b] = clip_grad[b] * scale
            x0 = denoised[b].detach().requires_grad_()
            beyond = (x0 - x0.clamp(-1, 1)).square().mean()
            extreme = (x0.abs() - 1).clamp(min=0).mean()
            away = self._away(x0, slot)
            own = torch.stack([total_variation(x0), beyond, extreme, away])
            wanted = [params.tv_scale, params.range_scale, params.sat_scale, params.init_scale]
            scales = to_device(torch.tensor(wanted, dtype=own.dtype), self.device)
            gradient[b] += torch.autograd.grad((own * scales).sum(), x0)[0]
            terms[b, 2:] = own.detach()
        return terms, scores / rounds, gradient

    def _away(self, x0: Tensor, slot: GuidedDiffusionSlot) -> Tensor:
        """How far x0 (3, H, W) is from the start, as init_loss says: ()."""
        if slot.start is None:
            return x0.new_zeros(())
        if slot.params.loss_networks:
            assert self._lpips is not None
            return self._lpips(x0[None], slot.start)[0]
        return (x0 - slot.start[0]).square().mean()

    def _load_lpips(self, params: GuidedDiffusionParams) -> None:
        if self._lpips is not None:
            return
        try:
            host = Host(str(self.device), self._checkpoints_dir, self._read_image)
            self._lpips = load_lpips(registry.LOSS_NETWORKS[params.loss_networks[0]], host)
        except CheckpointMissing as error:
            raise CheckpointMissing(f"{error}. Or set init_loss to mse, or init_scale to 0.") from None

    def _cuts(self, slot: GuidedDiffusionSlot, width: int, height: int, side: int) -> Plan:
        """Cutouts of a slot's picture for a CLIP that sees side x side px."""
        params, last = slot.params, len(self._levels) - 1
        if not params.cuts_scheduled:
            return draw_plain(slot, width, height, side)
        done = last - self._times(params)[slot.index] if slot.moves else last
        return draw_scheduled(params, params.cuts_at(done, last + 1), width, height, side, slot.generator)

    def _moved_against(self, gradient: Tensor, denoised: Tensor, time: int, params: GuidedDiffusionParams) -> Tensor:
        """x0 (3, H, W) moved against the gradient of the losses, and kept in [-1, 1] if asked.

        With the gradient at x, x0 - sigma^2 / alpha * gradient is what eps + sigma * gradient means. With that at x0,
        without the network, the spread of x0 given x is taken as that of unit variance: x0 - sigma^2 * gradient.
        """
        alpha, sigma = self._levels[time]
        reach = sigma**2 / alpha if params.through_unet else sigma**2
        # CLIP's gradient may have no value where its loss has one; such a step goes unguided.
        gradient = torch.where(gradient.isfinite().all(), gradient, torch.zeros_like(gradient))
        if params.clamp_grad:
            size = gradient.square().mean().sqrt()
            gradient = gradient * (size.clamp(max=params.clamp_max) / size.clamp(min=1e-12))
        guided = denoised - gradient * reach
        reached = 1.0 if params.clip_denoised else FARTHEST
        return guided.clamp(-reached, reached)

    def _move(self, slot: GuidedDiffusionSlot, x0: Tensor) -> None:
        """One step of the sampler towards the guided x0 (1, 3, H, W)."""
        times = self._times(slot.params)
        path = [*(self._levels[t] for t in times), END]
        level, following = path[slot.index], path[slot.index + 1]
        if slot.params.sampler == "ddim":
            noise = None
            if slot.params.eta:
                noise = to_device(torch.randn(slot.x.shape, generator=slot.generator), self.device)
            slot.x = ddim(slot.x, x0, level, following, slot.params.eta, noise)
        else:
            before = None if slot.last is None else (slot.last, path[slot.index - 1])
            slot.x = dpm_solver_2m(slot.x, x0, level, following, before)
            slot.last = x0.clone()
        slot.index += 1
        if slot.index + slot.params.skipped == slot.params.mirrored_at:
            slot.x = _mirrored(slot.x, slot.params)
            slot.last = None if slot.last is None else _mirrored(slot.last, slot.params)
        slot.hold(following)


def _mirrored(x: Tensor, params: GuidedDiffusionParams) -> Tensor:
    """The left half mirrored onto the right, the upper onto the lower, as asked: (1, 3, H, W), H and W even."""
    if params.use_horizontal_symmetry:
        left = x[..., : x.shape[3] // 2]
        x = torch.cat([left, left.flip(3)], 3)
    if params.use_vertical_symmetry:
        upper = x[:, :, : x.shape[2] // 2]
        x = torch.cat([upper, upper.flip(2)], 2)
    return x


def _composed(x0: Tensor, slots: Sequence[GuidedDiffusionSlot]) -> Tensor:
    """Pictures (B, 3, H, W) in [-1, 1], a slot for each, with what that slot keeps laid over its own."""
    if all(slot.kept is None for slot in slots):
        return x0
    pairs = zip(x0, slots, strict=True)
    return torch.stack([one if slot.kept is None else slot.kept.over((one + 1) / 2) * 2 - 1 for one, slot in pairs])
