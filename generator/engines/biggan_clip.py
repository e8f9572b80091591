"""BigGAN + CLIP (Brock et al. 2019, arXiv:1809.11096; Big Sleep, Murdock and Wang 2021): z and classes are optimised
until CLIP sees the prompts in the picture they give.

What is optimised is one tensor (1, layers or 1, z_dim + classes): z, then a logit for each class. Per step and batch:
logits to class vectors, every picture made once, all cutouts of all pictures seen in one pass (or `micro_batch` at a
time), and the summed gradient carried back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from generator.checkpoints.loading import load_biggan, load_clip, text_encoder_of
from generator.device import Host
from generator.engines.base import Step
from generator.engines.batching import advance_by_shape, is_exact
from generator.engines.latent_slot import LatentSlot, resume, scored
from generator.guidance.clip_loss import along, clip_loss, compare
from generator.guidance.style import StyleGuide, load_style_guide
from generator.guidance.targets import Targets, prompt_targets
from generator.images.convert import no_picture
from generator.models.biggan import BigGAN, MiniBigGAN
from generator.models.clip import ClipModel
from generator.models.contracts import Clip
from generator.models.emphasis import read_prompts
from generator.params import BigganClipParams
from generator.precision import Precision, repeatable
from generator.prompts import Prompt, main_prompt
from generator.registry.rows import Checkpoint
from generator.transfer import to_device

MAX_SHARE, MIN_SHARE = 0.99, 0.001  # of a class at the start: a share of 0 could never rise again
MAX_Z, MAX_LOGIT = 3.0, 10.0
COMING_IN = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # shares of z and of the classes' logits
STARTS_AT_ONCE = 64 * 64 * 64  # px of candidates drawn together


class BigganClip:
    """The engine: weights on a device, slots advanced together.

    The first Step of a slot has index 0 and shows the start; the last has index == total (or less when patience ended
    it) and done=True. The picture of a Step is the one CLIP scored; with ema > 0 it is the moving average's.
    micro_batch: cutouts per CLIP pass, None for all; may be changed between any two steps.
    """

    name = "biggan-clip"

    def __init__(
        self,
        biggan: BigGAN,
        clips: Sequence[Clip],
        *,
        text_encoder: ClipModel | None = None,
        style_guide: StyleGuide | None = None,
        device: str = "cpu",
        read_image: Callable[[str], Image.Image] = no_picture,
        precision: torch.dtype | None = None,
    ) -> None:
        """On models already built. precision: of the convolutions; None for the device's best."""
        self.device = torch.device(device)
        self.precision = Precision.best(self.device, precision)
        self.micro_batch: int | None = None
        self.exact: bool | None = None
        self.biggan, self.clips, self._text_encoder, self._read_image = biggan, clips, text_encoder, read_image
        self._style_guide = style_guide
        biggan.requires_grad_(False).eval().to(self.device)
        for part in biggan.modules():
            if isinstance(part, nn.Conv2d):  # what reads z stays exact: its rounding would show in every pixel
                self.precision.narrow(part)
                part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last)
        self.precision.freeze(*clips)
        self.precision.narrow(*(clip.network.visual for clip in clips))
        styles = len(biggan.styles) if isinstance(biggan, MiniBigGAN) else 0
        self._kinds = [biggan.num_classes - styles, styles] if styles else [biggan.num_classes]

    @classmethod
    def load(cls, checkpoint: Checkpoint, clips: Sequence[Checkpoint], host: Host) -> BigganClip:
        """On the weights of a checkpoint. Raises CheckpointMissing, CheckpointDamaged."""
        guides = [load_clip(clip, host) for clip in clips]
        biggan = load_biggan(checkpoint, host)
        styles = load_style_guide(guides, host) if checkpoint.styled else None
        # Another CLIP may guide, but texts are read for the start as the embedded one reads them.
        text_encoder = text_encoder_of(guides, host)
        return cls(
            biggan,
            guides,
            text_encoder=text_encoder,
            style_guide=styles,
            device=host.device,
            read_image=host.read_image,
        )

    def open(self, params: BigganClipParams) -> LatentSlot[BigganClipParams]:
        """Embeds the prompts and makes the start.

        Raises PromptTooLong, UnknownClass, and what `read_image` raises.
        """
        generator = torch.Generator().manual_seed(params.seed)
        with repeatable():
            targets = prompt_targets(params.prompt, params.image_prompts, self.clips, self._read_image, self.precision)
            start = self._start(params, targets, generator)
        return LatentSlot.begin(params, targets, generator, start, start.clone())

    def resume(self, params: BigganClipParams, state: dict[str, Any]) -> LatentSlot[BigganClipParams]:
        """A slot that goes on from `state_dict()`, on this device. Raises ValueError for a state of another kind."""
        return resume(params, state, self.device)

    def advance(self, slots: Sequence[LatentSlot[BigganClipParams]]) -> list[Step]:
        """One step of each slot; unless `exact`, those whose latents have one shape share every pass.

        A slot whose numbers are no longer finite gets a Step with error=NotFinite; the others go on.
        Raises ValueError for a slot that is done.
        """
        return advance_by_shape(slots, self._advance, is_exact(self.exact, self.device))

    @torch.no_grad()
    def _start(self, params: BigganClipParams, targets: Targets, generator: torch.Generator) -> Tensor:
        """The latent (1, layers or 1, z_dim + classes) a picture starts from: of the candidates drawn, CLIP's choice.

        All draws come from the CPU `generator`.
        """
        model, count = self.biggan, params.candidates
        layers = model.layers if params.latents == "per-layer" else 1
        if isinstance(model, MiniBigGAN):
            z, logits = self._embedded_start(model, params, layers, generator)
        else:
            z, logits = self._published_start(params, layers, generator)
        latents = torch.cat([z, logits.expand(count, layers, -1)], dim=2).to(self.device)
        latents = latents.clamp(*self._bounds(params))
        if count == 1:
            return latents
        at_once = max(1, STARTS_AT_ONCE // model.resolution**2)
        images = torch.cat([self._decode(part, [params] * len(part)) for part in latents.split(at_once)])
        best = int(compare(images, self.clips, targets, params.loss, self.precision)[0].argmin())
        return latents[best : best + 1].clone()

    def _embedded_start(
        self, model: MiniBigGAN, params: BigganClipParams, layers: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """z (candidates, layers, z_dim) and logits (candidates or 1, 1, classes) of one style and a group."""
        count = params.candidates
        z = params.truncation * truncated_normal((count, layers, model.z_dim), generator)
        groups = torch.randint(self._kinds[0], (count,), generator=generator)
        shares = F.one_hot(groups, model.num_classes).float()
        style = int(torch.randint(len(model.styles), (), generator=generator))
        if params.style is not None:
            style = model.style_index(params.style)
        shares[:, len(model.groups) :] = F.one_hot(torch.tensor(style), len(model.styles)).float()
        if params.init == "text":
            suggested, shares = self._suggested(model, main_prompt(params.prompt), style)
            z = suggested + params.init_noise * z
        if params.init == "class":
            named = model.class_vector(params.init_class)
            kind = slice(0, self._kinds[0]) if named[: self._kinds[0]].any() else slice(self._kinds[0], None)
            shares[:, kind] = named[kind]
        shares = shares.clamp(MIN_SHARE, MAX_SHARE)
        return z, (shares.log() if params.max_classes else shares.logit())[:, None]

    def _published_start(
        self, params: BigganClipParams, layers: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """z (candidates, layers, z_dim) and logits (candidates, layers, classes) as Big Sleep draws them: z of N(0, 1),
        logits of N(-3.9, 0.3), or all low and one high where a class was asked for."""
        count, model = params.candidates, self.biggan
        z = params.truncation * torch.randn(count, layers, model.z_dim, generator=generator)
        logits = torch.randn(count, layers, model.num_classes, generator=generator) * 0.3 - 3.9
        if params.init == "class":
            named = model.class_vector(params.init_class).bool()
            # Of a thousand classes each must start so low that all others together count little.
            high = MAX_LOGIT if params.max_classes else math.log(MAX_SHARE / (1 - MAX_SHARE))
            logits = torch.where(named, high, -MAX_LOGIT).expand(count, layers, -1)
        elif params.init == "text":
            raise ValueError("init=text needs the embedded BigGAN; use class or random.")
        return z, logits

    def _suggested(self, model: MiniBigGAN, text: Prompt, style: int) -> tuple[Tensor, Tensor]:
        """z (1, 1, z_dim) and class shares (1, classes) that a text means in one style, on the CPU."""
        if self._text_encoder is None:
            raise ValueError("init=text needs the embedded CLIP to read texts; use class or random.")
        styles = torch.tensor([style], device=self.device)
        features = read_prompts(self._text_encoder.text_features, [text]).float()
        z, logits = model.start(features.to(self.device), styles)
        return z[:, None].cpu(), model.start.classes(logits, styles).cpu()

    def _advance(self, slots: list[LatentSlot[BigganClipParams]]) -> list[Step]:
        """As `advance`, for slots of one shape."""
        moving = [slot.index < slot.params.total_steps for slot in slots]
        learn = any(moving)
        with torch.set_grad_enabled(learn):
            z = torch.cat([slot.z if moves else slot.z.detach() for slot, moves in zip(slots, moving, strict=True)])
            images = self._decode(z, [slot.params for slot in slots])
            seen = images.detach().requires_grad_(learn)
            prompts, scores = clip_loss(seen, slots, moving, self.clips, self.precision, self.micro_batch)
            styles = (
                self._style_guide.style_loss(seen, slots, moving) if self._style_guide else torch.zeros_like(scores)
            )
            if learn:
                along(images, seen.grad).backward()
            terms = [self._keep(slot, moves) for slot, moves in zip(slots, moving, strict=True)]
        init_loss, latent, classes = torch.stack(terms).unbind(dim=1)
        own = {"prompts": prompts, "style": styles, "pull": init_loss, "latent": latent, "classes": classes}
        steps = scored(slots, images, scores, own, self._averages)
        for b, (slot, step) in enumerate(zip(slots, steps, strict=True)):
            if step.done and not step.error and slot.params.init == "text":
                steps[b] = replace(step, draft=self._forming(slot))
        for slot in slots:
            if not slot.done:
                if len(self._kinds) > 1 and slot.z.grad is not None:
                    slot.z.grad[..., -self._kinds[1] :] = 0  # the style was asked for
                low, high = self._bounds(slot.params)
                slot.update(low, high)
        return steps

    def _decode(self, latents: Tensor, params: Sequence[BigganClipParams]) -> Tensor:
        """Latents (B, layers or 1, z_dim + classes), each with its settings -> (B, 3, H, W) float32 in [0, 1]."""
        z, logits = latents.split([self.biggan.z_dim, self.biggan.num_classes], dim=2)
        classes = torch.cat([self._shares(one, each) for one, each in zip(logits.split(1), params, strict=True)])
        made = []
        # Batch-norm statistics belong to a truncation; pictures of one truncation are made together.
        truncations = [each.truncation for each in params]
        for truncation in dict.fromkeys(truncations):
            rows = [b for b, each in enumerate(truncations) if each == truncation]
            which = to_device(rows, latents.device)
            with self.precision.autocast():
                made.append((rows, self.biggan.generate(z[which], classes[which], truncation)))
        if len(made) == 1:
            return made[0][1]
        order = to_device([row for rows, _ in made for row in rows], latents.device)
        return torch.cat([images for _, images in made])[order.argsort()]

    @torch.no_grad()
    def _forming(self, slot: LatentSlot[BigganClipParams]) -> Tensor:
        """How the start came to be: z and classes as they come in, from none to nearly all the text suggests, each with
        the style: (F, 3, H, W) on the CPU."""
        latents = slot.start * torch.tensor(COMING_IN, device=self.device).view(-1, 1, 1)
        if len(self._kinds) > 1:
            latents[..., -self._kinds[1] :] = slot.start[..., -self._kinds[1] :]
        with repeatable():
            return self._decode(latents, [slot.params] * len(latents)).clamp(0, 1).cpu().contiguous()

    def _averages(self, slots: list[LatentSlot[BigganClipParams]]) -> Tensor:
        averages = torch.cat([slot.average for slot in slots if slot.average is not None])
        return self._decode(averages, [slot.params for slot in slots])

    def _keep(self, slot: LatentSlot[BigganClipParams], moves: bool) -> Tensor:
        """Adds the gradient of what holds a latent back to slot.z.grad; the terms (3,): of the start, z, classes."""
        params, x = slot.params, slot.z
        terms = x.new_zeros(3)
        if params.init_weight:
            terms = terms + params.init_weight * _unit(0, x) * (x - slot.start).square().mean() / 2
        if params.latent_weight:
            away = latent_loss(x[..., : self.biggan.z_dim] / params.truncation)
            terms = terms + params.latent_weight * _unit(1, x) * away
        if params.class_weight:
            shares = self._shares(x[..., self.biggan.z_dim :], params)[..., : self._kinds[0]]
            terms = terms + params.class_weight * _unit(2, x) * class_loss(shares)
        if moves and terms.requires_grad:
            terms.sum().backward()
        return terms.detach()

    def _shares(self, logits: Tensor, params: BigganClipParams) -> Tensor:
        return class_shares(logits, params.max_classes, self._kinds, params.class_topk, params.class_temperature)

    def _bounds(self, params: BigganClipParams) -> tuple[Tensor, Tensor]:
        """Least and greatest value of every number of a latent, (z_dim + classes,); z of the published is not bound."""
        max_z = MAX_Z * params.truncation if isinstance(self.biggan, MiniBigGAN) else math.inf
        reach = torch.full((self.biggan.z_dim,), max_z)
        high = to_device(torch.cat([reach, torch.full((self.biggan.num_classes,), MAX_LOGIT)]), self.device)
        return -high, high


def truncated_normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Unit normal numbers that lie within two deviations, as BigGAN's z, by the inverse of their distribution."""
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    return (math.sqrt(2) * torch.erfinv((2 * uniform - 1) * math.erf(math.sqrt(2)))).float()


def class_shares(
    logits: Tensor, max_classes: int, kinds: Sequence[int], topk: str = "normalised", temperature: float = 1.0
) -> Tensor:
    """Logits (..., classes) -> the class vector, in [0, 1], for each of the kinds of class that lie side by side.

    max_classes 0: the sigmoid of each. Otherwise the greatest so many logits of a kind, by a softmax at this
    temperature, and 0 for the others: a differentiable top-k. normalised: a softmax of those chosen, so that they share
    1; successive: each has its part of the softmax among all that are no greater (Big Sleep).
    """
    if not max_classes:
        return logits.sigmoid()
    shares = []
    for part in logits.split(list(kinds), dim=-1):
        best = (part / temperature).topk(min(max_classes, part.shape[-1]), dim=-1)
        if topk == "successive":
            ordered = (part / temperature).sort(dim=-1, descending=True).values
            left = ordered.flip(-1).logcumsumexp(dim=-1).flip(-1)[..., : best.values.shape[-1]]
            values = (best.values - left).exp()
        else:
            values = best.values.softmax(dim=-1)
        shares.append(torch.zeros_like(part).scatter(-1, best.indices, values))
    return torch.cat(shares, dim=-1)


def latent_loss(z: Tensor) -> Tensor:
    """How far z (..., layers, z_dim) is from unit Gaussian: Big Sleep's lat_loss, ()."""
    mean = z.mean(dim=-1, keepdim=True)
    deviation = z.std(dim=-1, correction=0, keepdim=True)
    scores = (z - mean) / deviation.clamp(min=1e-6)  # where all numbers are at a bound there is none
    skew, kurtosis = scores.pow(3).mean(dim=-1), scores.pow(4).mean(dim=-1) - 3
    spread = (1 - z.std(dim=-1)).abs().mean() + mean.abs().mean() + 4 * z.square().mean().clamp(min=1)
    return spread + (kurtosis.abs() + skew.abs()).mean()


def class_loss(shares: Tensor) -> Tensor:
    """How much of class vectors (..., classes) is not in their greatest class: Big Sleep's cls_loss, ()."""
    others = shares.topk(shares.shape[-1] - 1, dim=-1, largest=False).values
    return (50 * others).square().mean()


def _unit(at: int, like: Tensor) -> Tensor:
    """(3,) with 1 at one place."""
    unit = like.new_zeros(3)
    unit[at] = 1
    return unit
