"""A run: the model, its average, the optimiser, and the place in the data, driven a second or two at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generator.checkpoints import caption_models
from generator.learning.caption_diffusion import pictures, vocabulary, watching
from generator.learning.caption_diffusion.base import Base
from generator.learning.caption_diffusion.recipe import (
    Average,
    Networks,
    Noise,
    architecture_of,
    draw_noise,
    leave_out,
)
from generator.learning.diffusion import Diffusion
from generator.learning.optimising import Trend, copied, rate
from generator.learning.runs import Progress
from generator.learning.stream.samples import CaptionStream, DataProblem
from generator.params.train import TrainParams
from generator.precision import Precision
from generator.sampling.noise_schedule import Schedule

STATE_VERSION = 2
MIN_PICTURES = 5
SHOWN = 8  # captions whose samples are drawn where none are given
Kept = dict[str, Any]


class Team:
    """One process alone: all of a batch is its own, and gradients are as they are. See generator.training.team."""

    rank, size = 0, 1

    def add_up(self, gradients: list[Tensor], loss: Tensor) -> Tensor:
        """Sums over all processes, in place; the loss's is returned."""
        return loss


class CaptionRun:
    """Implements generator.learning.runs.Run for a text-to-image model. Nothing is read before it is asked for.

    team: the processes that share each batch, on one machine or several.
    """

    def __init__(
        self, params: TrainParams, stream: CaptionStream, device: str, checkpoints_dir: Path, team: Team | None = None
    ) -> None:
        self.params, self._stream, self._checkpoints_dir = params, stream, checkpoints_dir
        self._device, self._team = torch.device(device), team or Team()
        self.step, self.total_steps, self.done = 0, params.steps, False
        self._micro = params.micro_batch or params.batch_size
        self._position = self._plateaus = self._stale = 0
        self._lowest_validation, self._trend = math.inf, Trend()
        self._due = False  # a look at the last step is not finished
        self._looking: Iterator[None] | None = None
        self._look = watching.Look()
        self._batches: pictures.Batches | None = None
        self._prepared = False
        self._captions = params.captions

    @property
    def captions(self) -> tuple[str, ...]:
        """What the samples are drawn from, in order."""
        self._prepare()
        return self._captions

    @property
    def learning_rate(self) -> float | None:
        """Of the last step; None before the first."""
        return float(self._optimiser.param_groups[0]["lr"]) if self.step else None

    # ---- what is made once

    def _prepare(self, merges: Any = None) -> None:
        """Reads the vocabulary from the data, builds the networks. Raises DataProblem, CheckpointMissing."""
        if self._prepared:
            return
        params = self.params
        self._base = Base(params.base, self._checkpoints_dir, self._device) if params.base else None
        self._decoder = pictures.Decoder(params.size)
        self._kept_back = pictures.validation_batch(self._stream, self._decoder, params.validation_samples)
        if merges is None:
            merges = self._learn_vocabulary()
        width = self._base.text_width if self._base else None
        self.architecture = architecture_of(params, () if self._base else merges, width)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(params.seed)
            self.networks = Networks(self.architecture).to(self._device).train()
            self._average = Average(self.networks, self.architecture, params.ema)
        if params.stochastic_depth:
            leave_out(self.networks.unet, params.stochastic_depth)
        self._schedule = Schedule(self.architecture.scheduler)
        self._diffusion = Diffusion(self._schedule, params.snr_gamma)
        self._optimiser = torch.optim.AdamW(
            self.networks.parameters(),
            lr=params.learning_rate,
            weight_decay=params.weight_decay,
            fused=self._device.type in ("cpu", "cuda"),  # a third of the time
        )
        self._trained: Any = torch.compile(self.networks) if params.compile else self.networks
        if not self._captions:
            self._captions = tuple(caption[:1000] for caption in self._kept_back.captions[:SHOWN]) or self._seen
        self._prepared = True

    def _learn_vocabulary(self) -> tuple[tuple[str, str], ...]:
        params = self.params
        captions = pictures.first_epoch(self._stream.samples("train", seed=params.seed), params.setup_samples)
        if len(captions) < MIN_PICTURES:
            raise DataProblem(
                f"{self._stream.name} has {len(captions)} captioned pictures to train on; at least {MIN_PICTURES} are "
                "needed."
            )
        self._seen = tuple(caption[:1000] for caption in captions[:SHOWN])
        return vocabulary.learn_merges(vocabulary.words_in(captions), params.vocabulary, params.min_frequency)

    def _autocast(self) -> AbstractContextManager[Any]:
        wanted = {"auto": None, "fp32": torch.float32, "bf16": torch.bfloat16}[self.params.precision]
        return Precision.best(self._device, wanted).autocast()

    # ---- a step

    def advance(self, seconds: float) -> Progress:
        """As Run.advance says; of a look at the model, at least one piece."""
        self._prepare()
        started, begun, losses = time.monotonic(), self.step, []
        while True:
            if self._due:
                progress = self._go_on_looking(started, seconds)
            else:
                losses.append(self._make_step())
                progress = None
            if progress or self.done or time.monotonic() - started >= seconds:
                break
        made, took = self.step - begun, time.monotonic() - started
        means = {"train": sum(losses) / len(losses)} if losses else {}
        found = progress.losses if progress else {}
        samples = progress.samples if progress else None
        return Progress(self.step, means | found, samples, made / took if made else None)

    def _make_step(self) -> float:
        """One step of the optimiser; the run is as before where it raises."""
        params, count = self.params, self.params.batch_size
        if self._batches is None:
            self._batches = pictures.Batches(self._stream, self._decoder, count, self._position, params.seed)
            self._held: pictures.Batch | None = None
        batch = self._held or next(self._batches)
        self._held = batch  # it is the next one again, should memory run out
        drawing = torch.Generator().manual_seed(params.seed * 1_000_003 + self.step)
        shape = (count, *self._shape)
        drawn = draw_noise(len(self._diffusion.alpha), shape, params.caption_dropout, drawing, params.time_shift)
        mirrored = torch.rand(count, generator=drawing) < 0.5 * params.mirror
        loss = torch.zeros((), device=self._device)
        own = range(count)[self._team.rank :: self._team.size]
        try:
            with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
                torch.manual_seed(params.seed * 1_000_003 + self.step)  # of dropout
                for start in range(0, len(own), self._micro):
                    rows = list(own[start : start + self._micro])
                    loss += self._add_gradient(batch, drawn, mirrored, rows)
            gradients = [p.grad for p in self.networks.parameters() if p.grad is not None]
            loss = self._team.add_up(gradients, loss)
            limit = params.gradient_clipping or math.inf
            norm = torch.nn.utils.clip_grad_norm_(self.networks.parameters(), limit)
            value = float(loss)
            trend = self._trend.after(value, float(norm), step=self.step, learning_rate=params.learning_rate)
            share = rate(self.step, steps=params.steps, warmup_steps=params.warmup_steps, decay=params.decay)
            for group in self._optimiser.param_groups:
                group["lr"] = params.learning_rate * 0.1**self._plateaus * share  # a tenth after each plateau
            self._optimiser.step()
        finally:
            self._optimiser.zero_grad(set_to_none=True)
        self._average.update(self.networks)
        self._trend, self._held, self._position = trend, None, batch.position
        self.step += 1
        self._due = self.step % params.sample_every == 0 or self.step == self.total_steps
        return value

    def _add_gradient(self, batch: pictures.Batch, drawn: Noise, mirrored: Tensor, rows: list[int]) -> Tensor:
        """The gradient of some pictures of a batch, as their share of it, and their share of the loss: ()."""
        part = Noise(drawn.times[rows], drawn.noise[rows], drawn.kept_back[rows])
        shown = torch.where(mirrored[rows].view(-1, 1, 1, 1), batch.pictures[rows].flip(3), batch.pictures[rows])
        captions = ["" if back else batch.captions[n] for n, back in zip(rows, part.kept_back.tolist(), strict=True)]
        with self._autocast():
            x0 = self._x0(shown)
            x, target = self._diffusion.noisy(x0, part.noise.to(x0.device), part.times)
            answer = self._trained(x, part.times.to(self._device), self._read(captions))
            loss = self._diffusion.loss(answer, target, part.times).sum() / self.params.batch_size
        loss.backward()
        return loss.detach()

    # ---- what the networks take

    @property
    def _shape(self) -> tuple[int, int, int]:
        """(C, h, w) of what the UNet sees."""
        side = self.params.positions
        return 4 if self._base else 3, side, side

    def _x0(self, shown: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) uint8 -> what is learnt, on the device."""
        x0 = shown.to(self._device).float() / 127.5 - 1
        return self._base.latents(x0) if self._base else x0

    def _read(self, captions: list[str]) -> Tensor:
        """What the networks take of captions: tokens (B, L), or hidden states (B, L, W) of the base."""
        if self._base:
            return self._base.read(captions)
        rows: Tensor = self.networks.text.rows(captions)
        return rows.to(self._device)

    # ---- a look at what is learnt

    def _go_on_looking(self, started: float, seconds: float) -> Progress | None:
        """Pieces of it until the time is over; what was found, once it is whole."""
        if self._looking is None:
            self._look = watching.Look()
            self._looking = self._look_at()
        with self._autocast():
            for _ in self._looking:
                if time.monotonic() - started >= seconds:
                    return None
        self._looking, self._due = None, False
        look = self._look
        self._judge(look.validation)
        self.done = self.done or self.step >= self.total_steps
        assert look.samples is not None
        drawn = self._base.pictures(look.samples) if self._base else look.samples / 2 + 0.5
        losses = {} if look.validation is None else {"validation": look.validation}
        return Progress(self.step, losses, drawn.float().clamp(0, 1).cpu())

    def _look_at(self) -> Iterator[None]:
        networks, kept = self._average.networks, self._kept_back
        micro = min(self._micro, 64)

        def some(start: int, end: int) -> tuple[Tensor, Tensor]:
            return self._x0(kept.pictures[start:end]), self._read(list(kept.captions[start:end]))

        count = len(kept.captions)
        yield from watching.validation_loss(networks, self._diffusion, some, count, micro, self._look)
        read = self._read(list(self._captions)), self._read([""])
        yield from watching.draw(networks, self._schedule, self.params, self._shape, read, self._look)

    def _judge(self, validation: float | None) -> None:
        """Lowers the learning rate or ends the run where the validation loss has not been better for long enough."""
        if validation is None:
            return
        self._stale = 0 if validation < self._lowest_validation else self._stale + 1
        self._lowest_validation = min(self._lowest_validation, validation)
        patience = self.params.plateau_patience
        if patience and self._stale and self._stale % patience == 0:
            self._plateaus += 1
        self.done = bool(self.params.stop_patience and self._stale >= self.params.stop_patience)

    # ---- memory, state, result

    def smaller(self) -> bool:
        """Halve the micro-batch; the gradients of the parts add up to the same step. False where it is one already."""
        if self._micro <= 1:
            return False
        self._micro = (self._micro + 1) // 2
        self._looking = None
        return True

    def state_dict(self) -> Kept:
        """Everything needed to go on elsewhere; torch.load(weights_only=True) reads it back."""
        self._prepare()
        return {
            "version": STATE_VERSION,
            "kind": "caption-diffusion",
            "architecture": self.architecture.model_dump(mode="json"),
            "numbers": {name: getattr(self, name) for name in _NUMBERS},
            "trend": [self._trend.smoothed, self._trend.lowest],
            "captions": list(self._captions),
            "networks": copied(self.networks.state_dict()),
            "average": copied(self._average.networks.state_dict()),
            "averaged": self._average.count,
            "optimiser": copied(self._optimiser.state_dict()),
        }

    def load_state_dict(self, state: Kept) -> None:
        """Go on from there, with the vocabulary that was learnt then. Raises ValueError for another recipe's."""
        if (state.get("version"), state.get("kind")) != (STATE_VERSION, "caption-diffusion"):
            raise ValueError(f"The saved state is {state.get('kind')!r}, version {state.get('version')!r}.")
        merges = tuple((first, second) for first, second in state["architecture"]["merges"])
        self._captions = tuple(state["captions"])
        if self._prepared and self.architecture.merges != merges:
            self._prepared = False
        self._prepare(merges)
        if self.architecture.model_dump(mode="json") != state["architecture"]:
            raise ValueError("The saved state is of a model of another size; it cannot go on with these settings.")
        self.networks.load_state_dict(state["networks"])
        self._average.networks.load_state_dict(state["average"])
        self._average.count = state["averaged"]
        self._optimiser.load_state_dict(copied(state["optimiser"]))
        for name in _NUMBERS:
            setattr(self, name, state["numbers"][name])
        self._trend = Trend(*state["trend"])
        self._micro = min(self._micro, self.params.batch_size)
        self._looking = None
        self._let_go()

    def export(self, folder: Path, card: Mapping[str, Any] | None = None) -> list[Path]:
        """Write the averaged model into the folder as NAME.safetensors. card: what its card says, plain values."""
        self._prepare()
        told = {"name": self.params.name, "step": self.step, "data": self.params.data, "licence": self.params.licence}
        networks: Any = dict(self._average.networks.named_children())
        path = folder / f"{self.params.name}.safetensors"
        caption_models.write(path, networks, self.architecture, told | dict(card or {}))
        return [path]

    def close(self) -> None:
        """Let go of the data."""
        self._let_go()
        self._stream.close()

    def _let_go(self) -> None:
        if self._batches is not None:
            self._batches.close()
        self._batches = None


_NUMBERS = ("step", "done", "_position", "_plateaus", "_stale", "_lowest_validation", "_due", "_micro")
