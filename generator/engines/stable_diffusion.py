"""Stable Diffusion (Rombach et al. 2022, arXiv:2112.10752; XL: Podell et al. 2023, arXiv:2307.01952).

Per step and batch: one pass of the UNet over every candidate of every slot, with the text and with the
negative one (classifier-free guidance), CLIP's gradient where asked for, and one move of the sampler.
The VAE decodes a frame now and then, and CLIP says which candidate is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from generator.checkpoints.loading import load_clip, load_stable_diffusion
from generator.checkpoints.memory import estimate_memory, weight_bytes
from generator.checkpoints.store import require_all
from generator.device import Host, free_memory
from generator.engines.base import Step, not_finite
from generator.engines.batching import is_exact
from generator.engines.loras import Loras, Weighed
from generator.engines.stable_diffusion_slot import StableDiffusionSlot
from generator.guidance.clip_loss import compare
from generator.guidance.cond_fn import cond_fn
from generator.guidance.targets import prompt_targets
from generator.images.convert import cover, no_picture, to_tensor
from generator.models.caption_unet import CaptionModels
from generator.models.contracts import Clip
from generator.models.flow import FlowModels
from generator.models.stable_diffusion import StableDiffusionModels
from generator.params import LatentDiffusionParams
from generator.precision import Precision, repeatable, repeatable_forward
from generator.registry.rows import Checkpoint
from generator.sampling import noise_schedule
from generator.sampling.samplers import ddim, dpm_solver_2m, linear_multistep
from generator.starts.masks import read_kept
from generator.transfer import begin_to_cpu, to_device

CUTOUTS = 8  # of each candidate that CLIP guides


@dataclass(frozen=True)
class _Moved:
    """What a step makes of a slot: z, denoised, held (n, C, h, w), history, and where a frame is due the picture
    (3, H, W) that CLIP likes best, on its way to the CPU, and CLIP's losses and scores of all (n,)."""

    z: Tensor
    denoised: Tensor
    held: Tensor
    history: list[Tensor]
    frame: tuple[Tensor, Tensor, Tensor] | None


class StableDiffusion:
    """The engine: weights on a device, slots advanced together.

    The first Step of a slot (index 1) is its first sampling step; the last has index == total and done=True. Frames are
    due at the first, at every save_every-th and at the last; the steps between repeat the score of the frame before.
    micro_batch: candidates per pass of the UNet, None for all; may be changed between any two steps.
    spares: whether memory=auto may take networks off the device: it has a memory of its own.
    """

    name = "latent-diffusion"

    def __init__(
        self,
        models: StableDiffusionModels | CaptionModels | FlowModels,
        clips: Sequence[Clip],
        *,
        device: str = "cpu",
        read_image: Callable[[str], Image.Image] = no_picture,
        precision: torch.dtype | None = None,
        checkpoints_dir: Path | None = None,
    ) -> None:
        """On models already built. precision: of the UNet's matrix products; None for the device's best;
        checkpoints_dir: where lora/ is, None where no job names any."""
        self.device = torch.device(device)
        self.precision = Precision.best(self.device, precision)
        self.micro_batch: int | None = None
        self.exact: bool | None = None
        self.clips: list[Any] = list(clips)
        self.models, self._read_image = models, read_image
        for part in (*models.parts, *self.clips):
            part.requires_grad_(False).eval()
        for clip in self.clips:
            clip.to(self.device)
        # Text encoder and VAE stay in fp32: they cost little, and XL's VAE overflows in less.
        self.precision.narrow(models.unet)
        self._loras = Loras(models, checkpoints_dir, self.device)
        self._low = False
        self.spares = self.device.type != "cpu"
        self._ran_out = False

    @classmethod
    def load(cls, checkpoint: Checkpoint, clips: Sequence[Checkpoint], host: Host) -> StableDiffusion:
        """On the weights of a checkpoint. Raises CheckpointMissing, CheckpointDamaged."""
        require_all([one for one in (checkpoint, *clips) if not one.own], host.checkpoints_dir)
        models = load_stable_diffusion(checkpoint, host)
        guides = [load_clip(clip, host) for clip in clips]
        return cls(models, guides, device=host.device, read_image=host.read_image, checkpoints_dir=host.checkpoints_dir)

    @contextmanager
    def _using(self, part: Any) -> Iterator[None]:
        """The network on the device; with memory=low it leaves again, so that the next one finds room."""
        part.to(self.device)
        try:
            yield
        finally:
            if self._low:
                part.to("cpu")

    def _is_low(self, jobs: Sequence[LatentDiffusionParams]) -> bool:
        """Whether these jobs are drawn with memory=low: because they say so, or because too little is free for auto."""
        if any(params.memory == "low" for params in jobs):
            return True
        if not self.spares or all(params.memory == "full" for params in jobs):
            return False
        free = free_memory(str(self.device))
        sizes = [(p.nbytes, p.device) for part in self.models.parts for p in part.parameters()]
        lacking = sum(size for size, device in sizes if device != self.device)
        weights = weight_bytes(jobs[0])
        needed = sum(estimate_memory(params) - weights for params in jobs) + lacking
        return self._ran_out or (free is not None and free < needed)

    def _set_low(self, low: bool) -> None:
        """Whether memory is to be saved. CUDA's fused attention needs no slices; the others take them."""
        if low == self._low:
            return
        self._low = low
        if low:
            for part in self.models.parts:
                part.to("cpu")
        if self.device.type != "cuda":
            self.models.unet.set_attention_slice("max" if low else None)

    @torch.no_grad()
    def open(self, params: LatentDiffusionParams) -> StableDiffusionSlot:
        """Reads the prompt and makes the noise.

        Raises PromptTooLong, UnknownStyle, CheckpointMissing and CheckpointDamaged of a LoRA, ValueError for a mask
        without white, and what `read_image` raises.
        """
        generator = torch.Generator().manual_seed(params.seed)
        width, height = params.actual_size
        kept = read_kept(params, self._read_image, self.device)
        self._set_low(self._is_low([params]))
        loras = self._loras.of(params)
        with repeatable():
            targets = prompt_targets(params.prompt, "", self.clips, self._read_image, self.precision)
            with self._using(self.models.texts):
                wanted, negative = (self._read(params, loras, sign) for sign in (1, -1))
            shape = (params.candidates, *self.models.latent_shape(width, height))
            noise = torch.randn(shape, generator=generator).to(self.device)
            path = self._path(params)
            slot = StableDiffusionSlot(params, targets, generator, path.start * noise, *wanted, *negative, loras=loras)
            if params.init_image:
                picture = to_tensor(cover(self._read_image(params.init_image), width, height)).to(self.device)
                with self._using(self.models.vae):
                    known = self.models.encode(picture[None])
                alpha, sigma = path.levels[0]
                slot.z = alpha * known + sigma * noise
                if kept is not None:
                    slot.known, slot.noise = known, noise
                    slot.mask, slot.picture = kept.mask.float() / 255, kept.picture
        return slot

    def _read(self, params: LatentDiffusionParams, loras: Weighed, sign: int) -> tuple[Tensor, Tensor]:
        """The texts to be drawn (1) or kept away from (-1), as the text encoders read them."""
        prompts = [prompt for prompt in params.prompts if prompt.weight * sign > 0]
        with self._loras.reading(loras, len(prompts)):
            hidden, pooled = self.models.texts.encode_prompt(prompts)
        if isinstance(self.models, FlowModels):
            hidden = self.models.in_style(hidden, params.style if sign > 0 else None)
        return hidden, pooled

    def resume(self, params: LatentDiffusionParams, state: dict[str, Any]) -> StableDiffusionSlot:
        """A slot that goes on from `state_dict()`, on this device. Raises ValueError for a state of another kind,
        CheckpointMissing and CheckpointDamaged of a LoRA."""
        loras = self._loras.of(params)
        return StableDiffusionSlot.from_state(params, state, self.device, loras)

    def _path(self, params: LatentDiffusionParams) -> noise_schedule.Path:
        path = self.models.schedule.path(params.sampler, params.steps, params.levels_left)
        if params.total_steps == len(path.times):
            return path
        times = (*path.times[:2], *path.times[1:])  # PNDM asks twice at its second level
        return noise_schedule.Path(times, (*path.levels[:2], *path.levels[1:]), path.start)

    @torch.no_grad()
    def advance(self, slots: Sequence[StableDiffusionSlot]) -> list[Step]:
        """One step of each slot, in shared passes unless `exact`. A slot whose numbers are no longer finite gets a Step
        with error=NotFinite; the others go on. Raises ValueError for a slot that is done."""
        if any(slot.done for slot in slots):
            raise ValueError("a slot that is done cannot be advanced.")
        if is_exact(self.exact, self.device):
            return [step for slot in slots for step in self._advance([slot])]
        return self._advance(slots) if slots else []

    def _advance(self, slots: Sequence[StableDiffusionSlot]) -> list[Step]:
        """As `advance`, in shared passes."""
        self._set_low(self._is_low([slot.params for slot in slots]))
        before = [slot.generator.get_state() for slot in slots]
        try:
            out = self._predict(slots)
            moved = [self._move(slot, part) for slot, part in zip(slots, out, strict=True)]
            table = torch.stack([_told(one) for one in moved]).tolist()  # one wait for the device
        except BaseException as error:
            # Out of memory, say: no slot has moved, and the step can be taken again in smaller parts.
            for slot, state in zip(slots, before, strict=True):
                slot.generator.set_state(state)
            auto = self.spares and not self._low and any(slot.params.memory == "auto" for slot in slots)
            if not auto or not isinstance(error, torch.OutOfMemoryError):
                raise
            self._ran_out = True  # it needs more than was reckoned with, and will the next time
        else:
            return [_step(slot, one, *row) for slot, one, row in zip(slots, moved, table, strict=True)]
        return self._advance(slots)

    def _predict(self, slots: Sequence[StableDiffusionSlot]) -> list[Tensor]:
        """The UNet's guided answers, (n, C, h, w) per slot."""
        counts = [len(slot.z) for slot in slots]
        owner = [slot for slot, count in zip(slots, counts, strict=True) for _ in range(count)]
        z = torch.cat([slot.z for slot in slots])
        chunk = self.micro_batch or len(owner)
        made = []
        with repeatable_forward(), self._using(self.models.unet):
            for start in range(0, len(owner), chunk):
                rows = owner[start : start + chunk]
                times = to_device([self._path(slot.params).times[slot.index] for slot in rows], self.device)
                both = [(slot.text, slot.pooled) for slot in rows]
                if any(slot.params.cfg_scale != 1 for slot in rows):
                    both += [(slot.negative, slot.negative_pooled) for slot in rows]
                twice = len(both) // len(rows)
                with self._loras.drawing([slot.loras for slot in rows] * twice):
                    out = self._unet(z[start : start + chunk].repeat(twice, 1, 1, 1), times.repeat(twice), both)
                if twice == 2:
                    scale = to_device([slot.params.cfg_scale for slot in rows], self.device)
                    cond, uncond = out.chunk(2)
                    out = uncond + scale.view(-1, 1, 1, 1) * (cond - uncond)
                made.append(out)
        return list(torch.cat(made).split(counts))

    def _unet(self, z: Tensor, times: Tensor, texts: list[tuple[Tensor, Tensor]]) -> Tensor:
        extra = {}
        if self.models.unet.config.addition_embed_type == "text_time":
            # XL is given the size as well, and that nothing is cut off.
            height, width = z.shape[2] * 8, z.shape[3] * 8
            size = torch.tensor([[height, width, 0, 0, height, width]])
            sizes = to_device(size, self.device).repeat(len(z), 1)
            extra = {"text_embeds": torch.stack([pooled for _, pooled in texts]), "time_ids": sizes}
        hidden = torch.stack([text for text, _ in texts])
        with self.precision.autocast():
            answer: Tensor = self.models.unet(z, times.float(), hidden, added_cond_kwargs=extra, return_dict=False)[0]
        return answer.float()

    def _move(self, slot: StableDiffusionSlot, out: Tensor) -> _Moved:
        """One move of the sampler from the UNet's answer (n, C, h, w), and the frame if one is due."""
        params, path = slot.params, self._path(slot.params)
        level, following = path.levels[slot.index], path.levels[slot.index + 1]
        (alpha, sigma), z = level, slot.z
        if self.models.schedule.prediction == "epsilon":
            denoised = (z - sigma * out) / alpha
        elif self.models.schedule.prediction == "v_prediction":
            denoised = alpha * z - sigma * out
        else:
            denoised = out
        if params.clip_guidance_scale:
            denoised = self._guided(slot, denoised, sigma)
        history, held = slot.history, z
        if params.sampler == "dpm-solver-2m":
            last = None if slot.denoised is None else (slot.denoised, path.levels[slot.index - 1])
            z = dpm_solver_2m(z, denoised, level, following, last)
        elif params.sampler == "pndm":
            eps = (z - alpha * denoised) / sigma
            history = history if slot.index == 1 else [*history[-3:], eps]
            if slot.index == 1 and slot.held is not None:  # the second step at the level the first came to
                eps, z, level = (eps + history[-1]) / 2, slot.held, path.levels[0]
            else:
                eps = linear_multistep(history)
            z = ddim(z, (z - level[1] * eps) / level[0], level, following, 0.0, None)
        else:
            fresh = None
            if params.fresh_noise:
                fresh = to_device(torch.randn(z.shape, generator=slot.generator), self.device)
            z = ddim(z, denoised, level, following, params.fresh_noise, fresh)
        if slot.mask is not None and slot.known is not None and slot.noise is not None:
            redrawn = F.adaptive_max_pool2d(slot.mask[None], z.shape[2:])
            z = redrawn * z + (1 - redrawn) * (following[0] * slot.known + following[1] * slot.noise)
        last_step, number = slot.index + 1 == params.total_steps, slot.index + 1
        due = last_step or number == 1 or number % params.save_every == 0
        return _Moved(z, denoised, held, history, self._frame(slot, z if last_step else denoised) if due else None)

    def _frame(self, slot: StableDiffusionSlot, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with repeatable(), self._using(self.models.vae):
            images = self.models.decode(z, slot.params.actual_size).clamp(0, 1)
            if slot.mask is not None and slot.picture is not None:
                images = slot.mask * images + (1 - slot.mask) * slot.picture.float() / 255
            losses, scores = compare(images, self.clips, slot.targets, "spherical", self.precision)
            return begin_to_cpu(images.index_select(0, losses.argmin()[None])[0]), losses, scores

    def _guided(self, slot: StableDiffusionSlot, denoised: Tensor, sigma: float) -> Tensor:
        """x0 moved against CLIP's gradient through the VAE's decoder, one candidate at a time to save memory.

        The spread of x0 given x is taken as sigma.
        """

        def clip_grad(one: Tensor) -> Tensor:
            return cond_fn(
                one,
                lambda z: self.models.decode(z, slot.params.actual_size),
                slot.targets,
                self.clips,
                self.precision,
                slot.generator,
                scale=slot.params.clip_guidance_scale,
                cutn=CUTOUTS,
                micro_batch=self.micro_batch,
            )

        with repeatable(), self._using(self.models.vae):
            clip_grads = [clip_grad(one) for one in denoised.split(1)]
        return denoised - sigma**2 * torch.cat(clip_grads)


def _told(moved: _Moved) -> Tensor:
    """Whether z and what CLIP said are finite, the least loss and its score, (3,)."""
    finite = moved.z.isfinite().all()[None]
    if moved.frame is None:
        return torch.cat([finite.float(), moved.z.new_zeros(2)])
    _, losses, scores = moved.frame
    best = losses.argmin()[None]
    finite = finite & losses.isfinite().all()
    return torch.cat([finite.float(), losses.gather(0, best), scores.gather(0, best)])


def _step(slot: StableDiffusionSlot, moved: _Moved, finite: float, loss: float, score: float) -> Step:
    """The slot at its next level, and what is to be shown of it: the candidate that CLIP likes best."""
    total = slot.params.total_steps
    slot.z, slot.denoised, slot.history = moved.z, moved.denoised, moved.history
    slot.held = moved.held if slot.params.sampler == "pndm" else None
    slot.index += 1
    slot.done = slot.index >= total
    if not finite:
        return not_finite(slot, f"cfg_scale {slot.params.cfg_scale:g}", "cfg_scale")
    picture = None
    if moved.frame is not None:
        slot.loss, slot.score = loss, score
        picture = moved.frame[0].clone()
    return Step(slot.index, total, picture, slot.score, {"prompts": slot.loss}, slot.done)
