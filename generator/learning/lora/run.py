"""A run: low-rank terms in a frozen Stable Diffusion, their optimiser, and the place in the data.

A step's pictures are passed through the network in groups of one size, so that the order of the data, and with it every
number, is the same whatever sizes there are, how large the micro-batch is, and where the run was interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generator.checkpoints.loading import load_stable_diffusion
from generator.checkpoints.resolve import resolve
from generator.checkpoints.store import require_all
from generator.device import Host
from generator.images.convert import no_picture
from generator.learning.diffusion import Diffusion
from generator.learning.lora import export, recipe
from generator.learning.lora.examples import Cache, Example, Examples, as_far_as_read, captioned
from generator.learning.optimising import Trend, copied, rate
from generator.learning.runs import Progress
from generator.learning.stream.samples import CaptionStream, DataProblem
from generator.params.train_lora import TrainLoraParams
from generator.precision import Precision

STATE_VERSION = 1
KIND = "lora"
MIN_PICTURES = 5
SHOWN = 4  # captions whose samples are drawn where none are given
SEED = 20_261_128  # of the noise in which the validation loss is measured, whatever the run's own seed is
Texts = tuple[Tensor, Tensor]
Kept = dict[str, Any]


class LoraRun:
    """Implements generator.learning.runs.Run for a LoRA. Nothing is read or loaded before it is asked for."""

    def __init__(self, params: TrainLoraParams, stream: CaptionStream, device: str, checkpoints_dir: Path) -> None:
        self.params, self._stream = params, stream
        self._device, self._checkpoints_dir = torch.device(device), checkpoints_dir
        self.step, self.total_steps, self.done = 0, params.steps, False
        self._micro = params.micro_batch or params.batch_size
        self._position = 0
        self._trend = Trend()
        self._due = False  # a look at the last step is not finished
        self._pieces: Iterator[None] | None = None  # of the step or look in progress
        self._held: tuple[list[Example], int] | None = None  # the batch of the step in progress, and where it ends
        self._losses: list[float] = []
        self._validation: float | None = None
        self._drawn: list[Tensor] = []
        self._prepared = False
        self._captions = tuple(as_far_as_read(caption) for caption in params.captions)

    @property
    def captions(self) -> tuple[str, ...]:
        """What the samples are drawn from, in order. Raises as `advance`."""
        self._prepare()
        return self._captions

    @property
    def learning_rate(self) -> float | None:
        """Of the last step; None before the first."""
        return float(self._optimiser.param_groups[0]["lr"]) if self.step else None

    # ---- what is made once

    def _prepare(self) -> None:
        """Loads the model and looks at the data. Raises CheckpointMissing, CheckpointDamaged, DataProblem."""
        if self._prepared:
            return
        params = self.params
        self._check_data()
        checkpoint = resolve(params.checkpoint, self._checkpoints_dir)
        require_all([] if checkpoint.own else [checkpoint], self._checkpoints_dir)
        self.models = load_stable_diffusion(checkpoint, Host(str(self._device), self._checkpoints_dir, no_picture))
        if self.models.unet.config.in_channels != 4:
            raise DataProblem(
                f"{params.checkpoint} reads {self.models.unet.config.in_channels} channels, as models for inpainting "
                "do; take one that reads 4."
            )
        wanted = {"auto": None, "fp32": torch.float32, "bf16": torch.bfloat16}[params.precision]
        self._precision = Precision.best(self._device, wanted)
        self._precision.narrow(self.models.unet)
        for part in self.models.parts:
            part.to(self._device)
        self.networks = recipe.add_terms(self.models, params)
        if params.gradient_checkpointing:
            self.models.unet.enable_gradient_checkpointing()
        self._diffusion = Diffusion(self.models.schedule, params.snr_gamma)
        rates = {"unet": params.learning_rate}
        self._groups: list[Kept] = [
            {
                "params": list(recipe.terms_of(network).values()),
                "lr": rates.get(part, params.text_learning_rate),
                "full": rates.get(part, params.text_learning_rate),
            }
            for part, network in self.networks.items()
        ]
        self._optimiser = torch.optim.AdamW(self._groups, weight_decay=params.weight_decay)
        # A caption takes 0.2 MB read by SD 1 and 0.6 by XL, latents 0.1 and 0.5.
        self._texts = Cache[Texts](params.cache_mb << 19)
        self._examples = Examples(self._stream, params, Cache(params.cache_mb << 19), self._moments)
        self._examples.go_to(self._position)
        self._prepared = True

    def _check_data(self) -> None:
        seen: dict[str, str] = {}
        for sample in self._stream.samples("train", seed=self.params.seed):
            if sample.id in seen:
                break
            seen[sample.id] = captioned(sample.caption, self.params.trigger)
            if len(seen) >= max(MIN_PICTURES, SHOWN):
                break
        if len(seen) < MIN_PICTURES:
            raise DataProblem(
                f"{self._stream.name} has {len(seen)} captioned pictures to train on; at least {MIN_PICTURES} are "
                "needed."
            )
        if not self._captions:
            kept_back = [captioned(s.caption, self.params.trigger) for s in _first(self._stream, SHOWN)]
            self._captions = tuple(kept_back or list(seen.values())[:SHOWN])

    @torch.no_grad()
    def _moments(self, picture: Tensor) -> Texts:
        """The VAE's mean and deviation of pictures (n, 3, H, W) in [-1, 1], in fp32, which XL's needs."""
        said = self.models.vae.encode(picture.to(self._device)).latent_dist
        return said.mean, said.std

    def _read(self, captions: list[str]) -> Texts:
        """As the UNet is told; kept where the text encoders do not learn."""
        if self.params.train_text:
            return recipe.read(self.models, captions)

        read = [self._read_once(caption) for caption in captions]
        return torch.cat([hidden for hidden, _ in read]), torch.cat([pooled for _, pooled in read])

    def _read_once(self, caption: str) -> Texts:
        def make() -> tuple[Texts, int]:
            with torch.no_grad():
                hidden, pooled = (part.cpu() for part in recipe.read(self.models, [caption]))
            return (hidden, pooled), hidden.nbytes + pooled.nbytes

        hidden, pooled = self._texts.get(caption, make)
        return hidden.to(self._device), pooled.to(self._device)

    # ---- a step

    def advance(self, seconds: float) -> Progress:
        """As Run.advance says. Raises also CheckpointMissing and CheckpointDamaged, of the model."""
        self._prepare()
        started, begun = time.monotonic(), self.step
        losses: list[float] = []
        looked = False
        try:
            while not self.done:
                if self._pieces is None:
                    self._pieces = self._look() if self._due else self._make_step()
                looking = self._due
                if next(self._pieces, self) is self:
                    self._pieces = None
                    losses += self._losses
                    self._losses = []
                    looked = looked or (looking and not self._due)
                if looked or time.monotonic() - started >= seconds:
                    break
        except BaseException:
            self._stop()
            raise
        made, took = self.step - begun, time.monotonic() - started
        told = {"train": sum(losses) / len(losses)} if losses else {}
        if looked and self._validation is not None:
            told["validation"] = self._validation
        samples = torch.cat(self._drawn) if looked else None
        return Progress(self.step, told, samples, made / took if made else None)

    def _stop(self) -> None:
        """Let go of a step in progress: it begins anew."""
        self._pieces, self._losses = None, []
        if self._prepared:
            self._optimiser.zero_grad(set_to_none=True)

    def _make_step(self) -> Iterator[None]:
        """One step of the optimiser, a pass through the network at a time."""
        params = self.params
        if self._held is None:
            self._held = self._examples.read(params.batch_size), self._examples.position
        batch, end = self._held
        self._train(True)
        generator = torch.Generator().manual_seed(params.seed * 1_000_003 + self.step)
        drawn = [self._draw(example, generator, params.caption_dropout) for example in batch]
        loss = torch.zeros((), device=self._device)
        for number, rows in enumerate(_groups(batch, self._micro)):
            with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
                torch.manual_seed((params.seed * 1_000_003 + self.step) * 4099 + number)  # of dropout
                part = self._loss([batch[n] for n in rows], [drawn[n] for n in rows]).sum() / len(batch)
                part.backward()
            loss += part.detach()
            yield
        weights = [weight for group in self._groups for weight in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(weights, params.gradient_clipping or math.inf)
        value = float(loss)
        trend = self._trend.after(value, float(norm), step=self.step, learning_rate=params.learning_rate)
        share = rate(self.step, steps=params.steps, warmup_steps=params.warmup_steps, decay=params.decay)
        for group in self._optimiser.param_groups:
            group["lr"] = group["full"] * share
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._trend, self._held, self._position = trend, None, end
        self.step += 1
        self._losses.append(value)
        self._due = self.step % params.sample_every == 0 or self.step == self.total_steps

    def _train(self, training: bool) -> None:
        """Whether dropout is on, which nothing has but what is learnt; and whether activations are computed twice."""
        for network in self.networks.values():
            network.train(training)

    def _draw(
        self, example: Example, generator: torch.Generator, dropout: float
    ) -> tuple[Tensor, Tensor, Tensor, bool]:
        """For one picture, on the CPU so that every device draws the same: its level (1,), its latents and the noise
        (1, C, h, w), and whether its caption is kept back."""
        level = torch.randint(len(self._diffusion.alpha), (1,), generator=generator)
        mean, std = example.latents.mean[None], example.latents.std[None]
        raw = mean + std * torch.randn(mean.shape, generator=generator)
        noise = torch.randn(mean.shape, generator=generator)
        config = self.models.vae.config
        z = (raw - (config.shift_factor or 0.0)) * config.scaling_factor
        return level, z, noise, bool(torch.rand(1, generator=generator) < dropout)

    def _loss(self, examples: list[Example], drawn: list[tuple[Tensor, Tensor, Tensor, bool]]) -> Tensor:
        """Of pictures of one size, each (B,)."""
        times = torch.cat([level for level, *_ in drawn])
        z, noise = (torch.cat(parts).to(self._device) for parts in ([d[1] for d in drawn], [d[2] for d in drawn]))
        x, target = self._diffusion.noisy(z, noise, times)
        texts = self._read(["" if one[3] else example.caption for example, one in zip(examples, drawn, strict=True)])
        told = torch.tensor([example.latents.told for example in examples], device=self._device)
        said = recipe.answer(self.models, self._precision, x, times.to(self._device), texts, told)
        return self._diffusion.loss(said, target, times)

    # ---- a look at what is learnt

    @torch.no_grad()
    def _look(self) -> Iterator[None]:
        """Validation loss and samples, a pass at a time, in the same noise at every interval."""
        params = self.params
        self._train(False)
        losses: list[float] = []
        generator = torch.Generator().manual_seed(SEED)
        kept_back = self._examples.kept_back(params.validation_samples) if params.validation_share else []
        for number, example in enumerate(kept_back):
            _, z, noise, _ = self._draw(example, generator, 0.0)
            # Spread over all levels: drawn at random, few pictures would say more of the levels than of the model.
            level = torch.tensor([int((number + 0.5) * 0.618034 % 1 * len(self._diffusion.alpha))])
            losses += self._loss([example], [(level, z, noise, False)]).tolist()
            yield
        side = (params.sample_size or params.resolution) // 8
        generator = torch.Generator().manual_seed(params.seed)
        shape = (1, *self.models.latent_shape(8 * side, 8 * side))
        empty = self.models.texts.encode_prompt([])
        drawn: list[Tensor] = []
        for caption in self._captions:
            z = torch.randn(shape, generator=generator).to(self._device)
            texts = self._read([caption]), (empty[0][None], empty[1][None])
            for at in recipe.draw(self.models, self._precision, params, z, *texts):
                z = at
                yield
            drawn.append(self.models.decode(z).float().clamp(0, 1).cpu())
        self._validation, self._drawn = sum(losses) / len(losses) if losses else None, drawn
        self._due, self.done = False, self.step >= self.total_steps

    # ---- memory, state, result

    def smaller(self) -> bool:
        """Halve the micro-batch; the parts add up to the same step. False where it is one already."""
        if self._micro <= 1:
            return False
        self._micro = (self._micro + 1) // 2
        self._stop()
        return True

    def state_dict(self) -> Kept:
        """Everything needed to go on elsewhere; torch.load(weights_only=True) reads it back. A step in progress is left
        out: it begins anew."""
        self._prepare()
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return {
            "version": STATE_VERSION,
            "kind": KIND,
            "numbers": numbers,
            "trend": [self._trend.smoothed, self._trend.lowest],
            "captions": list(self._captions),
            "terms": {part: copied(recipe.terms_of(network)) for part, network in self.networks.items()},
            "optimiser": copied(self._optimiser.state_dict()),
        }

    def load_state_dict(self, state: Kept) -> None:
        """Go on from there. Raises ValueError for another recipe's, or for terms of another size."""
        if (state.get("version"), state.get("kind")) != (STATE_VERSION, KIND):
            raise ValueError(f"The saved state is {state.get('kind')!r}, version {state.get('version')!r}.")
        self._captions = tuple(state["captions"])
        self._prepare()
        for part, network in self.networks.items():
            ours, saved = recipe.terms_of(network), state["terms"].get(part, {})
            if {n: w.shape for n, w in ours.items()} != {n: w.shape for n, w in saved.items()}:
                raise ValueError("The saved state is of a LoRA of another size; it cannot go on with these settings.")
            with torch.no_grad():
                for name, weight in ours.items():
                    weight.copy_(saved[name])
        self._optimiser.load_state_dict(copied(state["optimiser"]))
        for name in _NUMBERS:
            setattr(self, name, state["numbers"][name])
        self._trend = Trend(*state["trend"])
        self._micro = min(self._micro, self.params.batch_size)
        self._held = None
        self._stop()
        self._examples.go_to(self._position)

    def export(self, folder: Path, card: Mapping[str, Any] | None = None) -> list[Path]:
        """Write the LoRA into the folder as NAME.safetensors, by kohya's names. card: what is to be said of it inside,
        plain values. Raises OSError."""
        self._prepare()
        pictures = self._stream.length
        return [
            export.write(
                folder,
                self.params,
                self.networks,
                step=self.step,
                pictures=pictures,
                prediction=self.models.schedule.prediction,
                card=card,
            )
        ]

    def close(self) -> None:
        """Let go of the data."""
        self._stop()
        self._stream.close()


_NUMBERS = ("step", "done", "_position", "_due", "_micro")


def _groups(batch: list[Example], micro_batch: int) -> list[list[int]]:
    """Places in the batch of pictures of one size, at most so many together, in the order of the first of each size."""
    by_size: dict[torch.Size, list[int]] = {}
    for number, example in enumerate(batch):
        by_size.setdefault(example.latents.mean.shape, []).append(number)
    return [
        rows[start : start + micro_batch] for rows in by_size.values() for start in range(0, len(rows), micro_batch)
    ]


def _first(stream: CaptionStream, most: int) -> Iterator[Any]:
    for number, sample in enumerate(stream.samples("validation")):
        if number == most:
            return
        yield sample
