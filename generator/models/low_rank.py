"""Low-rank terms beside the layers of a network (LoRA; Hu et al. 2021, arXiv:2106.09685, eq. 3), per row of a batch.

The weights themselves stay as they are: rows with different LoRAs share one pass, and a picture without any is drawn by
the very numbers it was drawn by before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class LowRank:
    """One layer's term: scale * up(down(x)). Linear: down (r, in), up (out, r). Convolution: down (r, in, kh, kw),
    which moves as the layer does, up (out, r, 1, 1)."""

    down: Tensor
    up: Tensor
    scale: float

    def term(self, layer: nn.Linear | nn.Conv2d, x: Tensor) -> Tensor:
        """Of the layer's input x (n, ...), in the number type of the layer."""
        kind = layer.weight.dtype
        down, up = self.down.to(x.device, kind), self.up.to(x.device, kind)
        if isinstance(layer, nn.Conv2d):
            inner = F.conv2d(x, down, None, layer.stride, layer.padding, layer.dilation)
            return F.conv2d(inner, up) * self.scale
        return F.linear(F.linear(x, down), up) * self.scale


@dataclass(frozen=True)
class Lora:
    """A LoRA as it fits one model: its terms for the UNet's and for each text encoder's layers, by their names.

    key: its name and which file it was, so that another file of that name is another LoRA.
    """

    key: str
    unet: Mapping[str, LowRank]
    texts: tuple[Mapping[str, LowRank], ...]

    @property
    def nbytes(self) -> int:
        """Of its matrices."""
        terms = [one for part in (self.unet, *self.texts) for one in part.values()]
        return sum(one.down.nbytes + one.up.nbytes for one in terms)


Placed = list[tuple[LowRank, float, Tensor | None]]  # a term, its weight, and the rows it is for; None: all


def fits(network: nn.Module, name: str, one: LowRank) -> str | None:
    """Why a term cannot be added to a layer of that name; None where it can."""
    try:
        layer: Any = network.get_submodule(name)
    except AttributeError:
        layer = None
    if isinstance(layer, nn.Conv2d):
        rank, wanted = one.down.shape[0], (layer.in_channels, *layer.kernel_size)
        fitting = one.down.shape[1:] == wanted and one.up.shape == (layer.out_channels, rank, 1, 1)
        plain = layer.groups == 1
    elif isinstance(layer, nn.Linear):
        rank, fitting = one.down.shape[0], one.down.ndim == 2 and one.down.shape[1] == layer.in_features
        fitting, plain = fitting and one.up.shape == (layer.out_features, rank), True
    else:
        return f"its layer {name} is none of the model's"
    if fitting and plain:
        return None
    found, takes = (one.up.shape[0], *one.down.shape[1:]), tuple(layer.weight.shape)
    return f"its layer {name} is for weights of {tuple(found)} and the model's are {takes}"


@contextmanager
def added(
    network: nn.Module, rows: Sequence[Mapping[str, float]], terms: Mapping[str, Mapping[str, LowRank]]
) -> Iterator[None]:
    """While open, each row of a pass through the network has its own terms added.

    rows: of each row of the batch, the weights by LoRA; terms: of each LoRA, the terms by layer.
    """
    by_layer: dict[str, Placed] = {}
    for lora, layers in terms.items():
        for weight in sorted({row[lora] for row in rows if lora in row}):
            index = [n for n, row in enumerate(rows) if row.get(lora) == weight]
            where = None if len(index) == len(rows) else torch.tensor(index)
            for name, one in layers.items():
                by_layer.setdefault(name, []).append((one, weight, where))
    hooks = [network.get_submodule(name).register_forward_hook(_hook(found)) for name, found in by_layer.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _hook(found: Placed) -> Any:
    def add(layer: nn.Linear | nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = inputs[0]
        for one, weight, where in found:
            if where is None:
                output = output + (one.term(layer, x) * weight).to(output.dtype)
                continue
            at = where.to(x.device)
            output = output.index_add(0, at, (one.term(layer, x.index_select(0, at)) * weight).to(output.dtype))
        return output

    return add
