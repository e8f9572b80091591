"""The presets a model of one's own is trained with: literal tables that `train` starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Preset = Literal["tiny", "small", "eir", "large"]

PRESETS: dict[str, Mapping[str, Any]] = {
    # 32 px, about an hour on a CPU. Here and below, levels in which a caption decides what is drawn are trained on
    # most.
    "tiny": {
        "size": 32,
        "channels": (32, 64, 128),
        "layers_per_block": 1,
        "attention_up_to": 8,
        "text_width": 512,
        "text_layers": 1,
        "caption_tokens": 24,
        "vocabulary": 4096,
        "min_frequency": 1,
        "steps": 4000,
        "sample_every": 250,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "warmup_steps": 100,
        "decay": "cosine",
        "time_shift": 3.0,
        "ema": 0.995,
        "sample_steps": 24,
    },
    # 64 px, hours on a CPU.
    "small": {
        "size": 64,
        "channels": (16, 48, 96, 192),
        "layers_per_block": 1,
        "attention_up_to": 8,
        "text_width": 512,
        "text_layers": 1,
        "caption_tokens": 24,
        "vocabulary": 4096,
        "min_frequency": 1,
        "steps": 4000,
        "sample_every": 500,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "warmup_steps": 200,
        "decay": "cosine",
        "time_shift": 5.0,
        "ema": 0.9985,
        "sample_steps": 24,
    },
    # The values of EIR's tutorial "Scaling diffusion" (docs/tutorials/i_scaling/03_diffusion.rst of EIR): globals,
    # caption, fusion and output. Its network is EIR's own; this one has its widths (2 ** 6 to 2 ** 9), its blocks per
    # level, its attention from 16 x 16 positions on, its stochastic depth and dropout.
    "eir": {
        "size": 128,
        "channels": (64, 128, 256, 512, 512),
        "layers_per_block": 2,
        "attention_up_to": 16,
        "dropout": 0.1,
        "stochastic_depth": 0.1,
        "text_width": 256,
        "text_layers": 6,
        "caption_tokens": 64,
        "vocabulary": 16_384,
        "min_frequency": 2,
        "setup_samples": 16_384,
        "steps": 50_000,
        "sample_every": 1000,
        "validation_samples": 1024,
        "batch_size": 128,
        "learning_rate": 1e-4,
        "weight_decay": 1e-4,
        "gradient_clipping": 1.0,
        "warmup_steps": 2000,
        "plateau_patience": 16,
        "stop_patience": 32,
        "precision": "bf16",
        "compile": True,
        "timesteps": 1000,
        "prediction": "v",
        "schedule": "squaredcos_cap_v2",
        "sampler": "ddim",
        "sample_steps": 200,
        "eta": 0.2,
    },
    # 256 px in the latents of another model's VAE, read by its frozen text encoder. For a GPU (not measured).
    "large": {
        "base": "stable-diffusion-1-5",
        "size": 256,
        "channels": (192, 384, 576, 768),
        "layers_per_block": 2,
        "attention_up_to": 32,
        "caption_tokens": 77,
        "steps": 100_000,
        "sample_every": 2000,
        "batch_size": 64,
        "learning_rate": 1e-4,
        "warmup_steps": 1000,
        "ema": 0.9999,
        "precision": "bf16",
        "compile": True,
        "sample_steps": 50,
    },
}
