"""How the embedded weights are stored: large matrices as int8 with one fp16 scale a row, everything else as fp16."""

from __future__ import annotations

from collections.abc import Mapping

import torch

SMALL = 20_000  # entries; below it a tensor is kept as fp16


def pack(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Large tensors as int8 under their key and fp16 scales under `<key>.scale`; the rest fp16, integers as they are.

    A row is what makes one output: the last axis of a matrix or a stack of them, all but the first of a convolution.
    """
    packed = {}
    for key, value in weights.items():
        if not value.is_floating_point():
            packed[key] = value.contiguous()
        elif value.dim() < 2 or value.numel() < SMALL:
            packed[key] = value.half().contiguous()
        else:
            axes = (1, 2, 3) if value.dim() == 4 else (-1,)
            scale = (value.float().abs().amax(dim=axes, keepdim=True) / 127).clamp(min=1e-7).half()
            packed[key] = (value.float() / scale.float()).round().clamp(-127, 127).to(torch.int8).contiguous()
            packed[f"{key}.scale"] = scale.contiguous()
    return packed


def unpack(packed: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What `pack` was given, floating point in fp32."""
    whole = {}
    for key, value in packed.items():
        if f"{key}.scale" in packed:
            whole[key] = value.float() * packed[f"{key}.scale"].float()
        elif not key.endswith(".scale"):
            whole[key] = value.float() if value.is_floating_point() else value
    return whole
