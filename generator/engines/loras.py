"""The LoRAs of the pictures that are being drawn: read once, checked against the model, added row by row."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from generator.checkpoints.errors import CheckpointMissing
from generator.checkpoints.lora_weights import load_lora
from generator.checkpoints.loras import lora_file
from generator.models.caption_unet import CaptionModels
from generator.models.flow import FlowModels
from generator.models.low_rank import Lora, LowRank, added
from generator.models.stable_diffusion import StableDiffusionModels
from generator.params import LatentDiffusionParams

KEPT_BYTES = 1 << 30  # of LoRAs that no picture uses at the moment

Weighed = tuple[tuple[Lora, float], ...]  # those of one picture, by their weights


class Loras:
    """Those of one model. directory: the checkpoints' folder, None where there is none."""

    def __init__(
        self,
        models: StableDiffusionModels | CaptionModels | FlowModels,
        directory: Path | None,
        device: torch.device,
    ) -> None:
        self._models: Any = models
        self._directory, self._device = directory, device
        self._kept: OrderedDict[tuple[str, int, int], Lora] = OrderedDict()

    def of(self, params: LatentDiffusionParams) -> Weighed:
        """What a job names, on the device. Raises CheckpointMissing, CheckpointDamaged."""
        named = getattr(params, "loras", ())  # other engines that draw so name none
        return tuple((self._load(one.name, params.checkpoint), one.weight) for one in named)

    def _load(self, name: str, checkpoint: str) -> Lora:
        if self._directory is None or not isinstance(self._models, StableDiffusionModels):
            raise CheckpointMissing(f"There is no LoRA {name!r} for {checkpoint}: they are for Stable Diffusion.")
        path = lora_file(name, self._directory)
        about = path.stat()
        key = (name, about.st_size, about.st_mtime_ns)
        found = self._kept.pop(key, None)
        if found is None:
            read = load_lora(path, self._models, checkpoint)
            texts = zip(read.texts, self._models.texts.networks, strict=True)
            found = replace(
                read,
                unet=self._placed(read.unet, self._models.unet),
                texts=tuple(self._placed(terms, network) for terms, network in texts),
            )
        self._kept[key] = found
        while len(self._kept) > 1 and sum(one.nbytes for one in self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return found

    def _placed(self, terms: Mapping[str, LowRank], network: nn.Module) -> dict[str, LowRank]:
        """On the device, in the number type of the layer each is added to."""
        kinds = {name: network.get_parameter(f"{name}.weight").dtype for name in terms}
        return {
            name: replace(one, down=one.down.to(self._device, kinds[name]), up=one.up.to(self._device, kinds[name]))
            for name, one in terms.items()
        }

    @contextmanager
    def reading(self, loras: Weighed, texts: int) -> Iterator[None]:
        """While open, the text encoders read so many texts with these."""
        with ExitStack() as stack:
            for number, network in enumerate(self._models.texts.networks if loras else ()):
                terms = {lora.key: lora.texts[number] for lora, _ in loras}
                stack.enter_context(added(network, [_weights(loras)] * max(1, texts), terms))
            yield

    @contextmanager
    def drawing(self, rows: Sequence[Weighed]) -> Iterator[None]:
        """While open, each row of the UNet's batch has its own."""
        terms = {lora.key: lora.unet for loras in rows for lora, _ in loras}
        if not terms:
            yield
            return
        with added(self._models.unet, [_weights(loras) for loras in rows], terms):
            yield


def _weights(loras: Weighed) -> dict[str, float]:
    return {lora.key: weight for lora, weight in loras}
