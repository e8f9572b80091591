"""How large a run's model and saved states will be and how much memory it takes, from its settings alone.

Numbers of weights follow from the architecture (diffusers' UNet2DConditionModel, CLIP's text transformer; Hu et al.
2021, arXiv:2106.09685, section 4.1 for LoRA). What is kept for the backward pass was counted on those networks with
torch.autograd.graph.saved_tensors_hooks. Importing this module does not import torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator import registry
from generator.checkpoints import diffusers_folder
from generator.checkpoints.errors import UNFIT
from generator.checkpoints.memory import checkpoint_bytes
from generator.checkpoints.torch_save import shapes_in
from generator.params.learning import LearningParams
from generator.params.train import TrainParams
from generator.params.train_lora import Trained, TrainLoraParams
from generator.registry.rows import MIB

STATES_KEPT = 2
# With the one being written here and the next on its way to the store, and a model that is at most as large as a state.
STATES_OF_ROOM = STATES_KEPT + 3
FLOAT = 4  # bytes
PROCESS = 750 * MIB  # torch, diffusers and the data beside the networks, in an executor
NARROW = 0.55  # of the activations in fp32, what bf16 keeps: norms stay as they are
# float32 numbers kept per position: of a residual block per channel, of an attention block per channel and per weight,
# of a change of size per channel.
RESIDUAL, ATTENTION, WEIGHT, RESIZED = 8, 31, 1, 3
# Of a frozen Stable Diffusion with low-rank terms, per px of the picture, and its weights in bytes; the share where
# activations are computed twice; of a caption that was read.
LORA_BYTES_PER_PX = {"sd": 6_500, "xl": 11_200}
BASE_BYTES = {"sd": 2450 * MIB, "xl": 8500 * MIB}
TWICE = 0.2
READ_BYTES = {"sd": 77 * 768 * FLOAT, "xl": (77 * 2048 + 1280) * FLOAT}
# Numbers per rank, by what is trained; of the text encoders.
PER_RANK: dict[str, dict[str, int]] = {
    "sd": {"attention": 199_296, "transformer": 423_936, "all": 1_050_816, "text": 73_728},
    "xl": {"attention": 1_451_520, "transformer": 2_659_840, "all": 3_074_240, "text": 401_408},
}
_XL_BYTES = 4 << 30  # weights of what is larger are XL's
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_TEXT = ("q_proj", "k_proj", "v_proj", "out_proj")


@dataclass(frozen=True)
class Needs:
    """In bytes. model: the file; state: a saved state, of which the last STATES_KEPT are kept; memory: about, of the
    device, or of the machine where it trains on the CPU. pictures_at_once: in one pass through the network."""

    model: int
    state: int
    memory: int
    pictures_at_once: int

    @property
    def states(self) -> int:
        """Of all states that are kept."""
        return STATES_KEPT * self.state

    @property
    def disk(self) -> int:
        """Free on the disk before the first step."""
        return STATES_OF_ROOM * self.state


def needs(params: LearningParams, checkpoints_dir: Path | None = None, pictures: int | None = None) -> Needs:
    """What a run with these settings needs. Raises TypeError for settings of no run.

    checkpoints_dir: where models of one's own are measured; pictures: how many it learns from, None: not known.
    """
    if isinstance(params, TrainParams):
        return _of_model(params, checkpoints_dir)
    if isinstance(params, TrainLoraParams):
        return _of_lora(params, checkpoints_dir, pictures)
    raise TypeError(f"{type(params).__name__} are no settings of a run.")


def gets_terms(layer: str, trained: Trained) -> bool:
    """Whether the UNet's layer of this name, linear or a convolution, gets low-rank terms."""
    convolution = any(part in layer for part in (".resnets.", ".downsamplers.", ".upsamplers."))
    return (
        layer.endswith(_ATTENTION)
        or (trained != "attention" and ".attentions." in layer)
        or (trained == "all" and convolution)
    )


def text_gets_terms(layer: str) -> bool:
    """Whether a text encoder's linear layer of this name gets low-rank terms."""
    return layer.endswith(_TEXT)


# ---- a model of one's own


def _of_model(params: TrainParams, checkpoints_dir: Path | None) -> Needs:
    width = _text_width(params, checkpoints_dir)
    unet = _Unet(params, width)
    weights = unet.weights + (0 if params.base else text_weights(params))
    at_once = params.micro_batch or params.batch_size
    kept = unet.kept * FLOAT * (NARROW if params.precision == "bf16" else 1)
    frozen = checkpoint_bytes(params.base, checkpoints_dir) if params.base else 0
    state = 4 * FLOAT * weights  # weights, their average, and AdamW's two moments
    # And the gradients; a state is copied before it is written.
    memory = PROCESS + frozen + FLOAT * weights + 2 * state + int(at_once * kept)
    return Needs(FLOAT * weights, state, memory, at_once)


def _text_width(params: TrainParams, checkpoints_dir: Path | None) -> int:
    """Of the states that the UNet reads: the base's own where there is one, 768 in Stable Diffusion 1."""
    if not params.base:
        return params.text_width
    widths = {shape[1] for name, shape in _base_shapes(params.base, checkpoints_dir) if name.endswith("attn2.to_k")}
    return max(widths, default=768)


def text_weights(params: TrainParams) -> int:
    """Of the caption encoder, with as many tokens as it may learn."""
    wide = params.text_width
    layer = 12 * wide**2 + 13 * wide
    return (params.vocabulary + params.caption_tokens) * wide + params.text_layers * layer + 2 * wide


class _Unet:
    """Counts a UNet from its settings. weights: all its numbers; kept: float32 numbers per picture for the backward
    pass."""

    def __init__(self, params: TrainParams, text_width: int) -> None:
        self._params, self._text, self._time = params, text_width, params.time_width or 4 * params.channels[0]
        self.weights = self.kept = 0
        self._build(list(params.channels), params.layers_per_block)

    def _build(self, channels: list[int], layers: int) -> None:
        params, first, last = self._params, channels[0], len(channels) - 1
        places = 4 if params.base else 3
        self.weights += 9 * places * first + first + 9 * first * places + places + 2 * first  # in and out
        self.weights += first * self._time + self._time + self._time**2 + self._time
        if params.time_width:  # the caption as a whole: its pooling by attention, and a linear layer between norms
            wide = self._text
            self.weights += 3 * (wide**2 + wide) + 3 * wide + wide * self._time + 3 * self._time
        skips, before = [first], first
        for level, wide in enumerate(channels):
            for _ in range(layers):
                self._block(level, before, wide)
                before = wide
                skips.append(wide)
            if level < last:
                self._resize(level, wide)
                skips.append(wide)
        self._residual(last, before, before)
        self._attention(last, before)
        self._residual(last, before, before)
        for level, wide in reversed(list(enumerate(channels))):
            for _ in range(layers + 1):
                self._block(level, before + skips.pop(), wide)
                before = wide
            if level > 0:
                self._resize(level - 1, wide)

    def _places(self, level: int) -> int:
        return (self._params.positions >> level) ** 2

    def _block(self, level: int, before: int, wide: int) -> None:
        self._residual(level, before, wide)
        if self._params.positions >> level <= self._params.attention_up_to:
            self._attention(level, wide)

    def _residual(self, level: int, before: int, wide: int) -> None:
        shortcut = before * wide + wide if before != wide else 0
        norms, time = 2 * before + 2 * wide, 2 * wide * (self._time + 1)
        self.weights += 9 * (before + wide) * wide + 2 * wide + norms + time + shortcut
        self.kept += RESIDUAL * self._places(level) * wide

    def _attention(self, level: int, wide: int) -> None:
        reads_itself, reads_text = 4 * wide**2 + wide, 2 * wide**2 + 2 * wide * self._text + wide
        self.weights += 14 * wide**2 + 19 * wide + reads_itself + reads_text  # projections, norms, and what follows
        places, heads = self._places(level), max(1, wide // self._params.head_width)
        read = places + self._params.caption_tokens
        self.kept += ATTENTION * places * wide + WEIGHT * heads * places * read

    def _resize(self, level: int, wide: int) -> None:
        self.weights += 9 * wide**2 + wide
        self.kept += RESIZED * self._places(level) * wide


# ---- a LoRA


def _of_lora(params: TrainLoraParams, checkpoints_dir: Path | None, pictures: int | None) -> Needs:
    frozen = checkpoint_bytes(params.checkpoint, checkpoints_dir)
    kind = "xl" if params.checkpoint == "stable-diffusion-xl" or frozen > _XL_BYTES else "sd"
    weights = _terms(params, kind, checkpoints_dir)
    at_once = params.micro_batch or params.batch_size
    # What is kept grows with the channels, weights with their square.
    kept = LORA_BYTES_PER_PX[kind] * params.resolution**2 * min(1.0, frozen / BASE_BYTES[kind]) ** 0.5
    cache = params.cache_mb << 20
    if pictures is not None:  # latents in 1/8 of the size, 4 means and 4 deviations, and the caption
        cache = min(cache, pictures * (params.resolution**2 // 64 * 8 * FLOAT + READ_BYTES[kind]))
    share = (TWICE if params.gradient_checkpointing else 1.0) * (1.0 if params.precision == "fp32" else NARROW)
    state = 3 * FLOAT * weights  # terms and AdamW's two moments; the model they are added to stays as it is
    memory = PROCESS + frozen + FLOAT * weights + 2 * state + int(at_once * kept * share) + cache
    return Needs(FLOAT * weights, state, memory, at_once)


def _terms(params: TrainLoraParams, kind: str, checkpoints_dir: Path | None) -> int:
    """How many numbers are learnt."""
    shapes = list(_base_shapes(params.checkpoint, checkpoints_dir))
    if not shapes:
        per_rank = PER_RANK[kind]
        return params.rank * (per_rank[params.trained] + (per_rank["text"] if params.train_text else 0))
    found = 0
    for layer, shape in shapes:
        text = layer.startswith("text_")
        wanted = params.train_text and text_gets_terms(layer) if text else gets_terms(layer, params.trained)
        if wanted and len(shape) > 1:
            out, *rest = shape
            found += params.rank * (out + math.prod(rest))
    return found


def _base_shapes(name: str, checkpoints_dir: Path | None) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The layers of a folder of one's own with the shapes of their weights, those of text encoders under text_; none
    where it is not there, or is one file."""
    if checkpoints_dir is None or registry.own_kind(name) != "diffusers":
        return
    try:
        folder = diffusers_folder.read_folder(checkpoints_dir / name)
        read = [
            *_weights("", folder.unet.weights),
            *(one for text in folder.texts for one in _weights("text_", text.weights)),
        ]
    except UNFIT:
        return  # said when it is loaded
    yield from read


def _weights(before: str, files: Iterable[Path]) -> Iterator[tuple[str, Any]]:
    for file in files:
        for name, shape in shapes_in(file).items():
            if name.endswith(".weight"):
                yield before + name.removesuffix(".weight"), shape
