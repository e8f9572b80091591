"""What is looked at between two stretches of a run: the loss on pictures kept from training, and samples of captions.

Both are made of small pieces of work, so that whoever drives a run never waits long; both draw the same noise at every
interval, so that what changes is what was learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from generator.learning.caption_diffusion.recipe import Networks, draw_noise
from generator.learning.diffusion import Diffusion
from generator.params.train import TrainParams
from generator.sampling.noise_schedule import Schedule
from generator.sampling.samplers import ddim, dpm_solver_2m

SEED = 20_261_128  # of the noise in which the validation loss is measured, whatever the run's own seed is
FRESH = {"euler": 0.0, "euler-ancestral": 1.0}  # noise drawn anew, where the setting eta does not say it


@dataclass
class Look:
    """validation: mean loss, None without pictures kept from training; samples: (N, C, h, w) as the UNet draws them."""

    validation: float | None = None
    samples: Tensor | None = None
    losses: list[float] = field(default_factory=list)


@torch.no_grad()
def validation_loss(
    networks: Networks,
    diffusion: Diffusion,
    pictures: Callable[[int, int], tuple[Tensor, Tensor]],
    count: int,
    micro_batch: int,
    look: Look,
) -> Iterator[None]:
    """The loss of the first `count` pictures, a micro-batch at a time; every level is asked for equally often.

    pictures: from and to which -> x0 (B, C, h, w) and what the network reads of their captions, on the device.
    """
    levels = len(diffusion.alpha)
    for start in range(0, count, micro_batch):
        end = min(count, start + micro_batch)
        x0, captions = pictures(start, end)
        drawn = draw_noise(levels, x0.shape, 0.0, torch.Generator().manual_seed(SEED + start))
        # Stratified: of few pictures drawn at random, the mean would depend more on the levels than on the model.
        drawn.times.copy_(((torch.arange(start, end) + 0.5) * 0.618034 % 1 * levels).long())
        x, target = diffusion.noisy(x0, drawn.noise.to(x0.device), drawn.times)
        answer = networks(x, drawn.times.to(x.device), captions)
        look.losses += diffusion.loss(answer, target, drawn.times).tolist()
        yield
    if look.losses:
        look.validation = sum(look.losses) / len(look.losses)


@torch.no_grad()
def draw(
    networks: Networks,
    schedule: Schedule,
    params: TrainParams,
    shape: tuple[int, int, int],
    read: tuple[Tensor, Tensor],
    look: Look,
) -> Iterator[None]:
    """Samples, one noise level of all of them at a time. read: what the network reads of the captions (N, ...) and of
    the empty caption (1, ...); shape: (C, h, w)."""
    captions, empty = read
    count, device = len(captions), captions.device
    generator = torch.Generator().manual_seed(params.seed)
    path = schedule.path(params.sampler, params.sample_steps, params.sample_steps)
    z = path.start * torch.randn((count, *shape), generator=generator).to(device)
    both = torch.cat([captions, empty.expand(count, *empty.shape[1:])]) if params.cfg_scale != 1 else captions
    eta = FRESH.get(params.sampler, params.eta)
    before: tuple[Tensor, tuple[float, float]] | None = None
    for time, level, following in zip(path.times, path.levels, path.levels[1:], strict=False):
        answer = networks(z.repeat(len(both) // count, 1, 1, 1), torch.full((len(both),), time, device=device), both)
        answer = answer.float()
        if len(both) > count:
            cond, uncond = answer.chunk(2)
            answer = uncond + params.cfg_scale * (cond - uncond)
        (alpha, sigma) = level
        denoised = alpha * z - sigma * answer if params.prediction == "v" else (z - sigma * answer) / alpha
        if params.sampler == "dpm-solver-2m":
            z = dpm_solver_2m(z, denoised, level, following, before)
        else:
            fresh = torch.randn(z.shape, generator=generator).to(device) if eta else None
            z = ddim(z, denoised, level, following, eta, fresh)
        before = denoised, level
        yield
    look.samples = z
