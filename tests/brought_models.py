"""Model files as people bring them along: small ones of our own, LoRAs of other tools, and bad ones."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from generator.checkpoints import caption_models
from generator.models.caption_architecture import Architecture
from generator.models.caption_unet import build_text, build_unet

SMALL: dict[str, Any] = {
    **{"size": 16, "channels": (8, 16), "layers_per_block": 1, "attention_up_to": 8, "head_width": 8, "dropout": 0},
    **{"text_width": 32, "text_layers": 1, "time_width": 40, "caption_tokens": 24, "prediction": "v", "timesteps": 100},
    **{"schedule": "squaredcos_cap_v2", "zero_terminal_snr": False},
}
CARD = {"name": "caption-diffusion/discs", "steps": 40, "licence_of_the_data": "CC0", "captions": ["a red disc"]}


def caption_model(path: Path, *, card: dict[str, Any] | None = None, **changed: Any) -> Path:
    """A model of one's own that has learnt nothing, as an export is."""
    torch.manual_seed(0)
    architecture = Architecture(**(SMALL | changed))
    networks = {"unet": build_unet(architecture)}
    if not architecture.base:
        networks["text"] = build_text(architecture)
    caption_models.write(path, networks, architecture, CARD if card is None else card)
    return path


def lora(path: Path, *, end: str = "lora_{}.weight", metadata: dict[str, str] | None = None, up: int = 2) -> Path:
    """A LoRA of one layer, as kohya-ss/sd-scripts names it."""
    layer = "lora_unet_down_blocks_0_attentions_0_proj_in"
    tensors = {
        f"{layer}.{end.format('down')}": torch.ones(2, 8),
        f"{layer}.{end.format('up')}": torch.ones(8, up),
        f"{layer}.alpha": torch.tensor(1.0),
    }
    told = {"ss_base_model_version": "sd_v1", "ss_network_dim": "2", "modelspec.license": "CC-BY-4.0"}
    save_file(tensors, path, metadata=told if metadata is None else metadata)
    return path


def with_header(path: Path, header: Any, data: bytes = b"") -> Path:
    """A file with this header, whatever it says."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def with_metadata(path: Path, **told: str) -> Path:
    """The same file with other texts in its metadata."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] |= {name.replace("_", ".", 1): text for name, text in told.items()}
    return with_header(path, header, data[8 + length :])
