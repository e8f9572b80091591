"""How much memory a job needs, as far as its parameters tell. Importing this module does not import torch."""

from __future__ import annotations

from pathlib import Path

from generator import registry
from generator.checkpoints import diffusers_folder
from generator.params import JobParams
from generator.registry.checkpoints import MIB


def weight_bytes(params: JobParams, checkpoints_dir: str | Path | None = None) -> int:
    """Bytes of the weights a job needs on the device, shared with every other job of the same engine.

    checkpoints_dir: where a folder of one's own is measured; without it, it counts as Stable Diffusion 1.5.
    """
    checkpoint, clip = params.loads
    own = 0
    if checkpoint in registry.CHECKPOINTS or registry.own_kind(checkpoint):
        spec = registry.checkpoint_spec(checkpoint)
        low = getattr(params, "memory", None) == "low"
        own = spec.least_weight_bytes if low and spec.least_weight_bytes else spec.weight_bytes
        if checkpoints_dir is not None and registry.own_kind(checkpoint) == "diffusers":
            measured = diffusers_folder.weight_bytes(Path(checkpoints_dir) / checkpoint)
            own = own if measured is None else measured[low]
    return (
        own
        + sum(registry.CLIP_MODELS[name][1] for name in clip)
        + sum(registry.LOSS_NETWORKS[n][1] for n in params.loss_networks)
    )


def estimate_memory(params: JobParams, checkpoints_dir: str | Path | None = None) -> int:
    """Bytes of device memory one job of its own needs, weights included: an upper estimate, torch not needed.

    checkpoints_dir: as in weight_bytes.
    """
    checkpoint, clip = params.loads
    activations = 0
    if params.pixels_at_once:
        spec = registry.checkpoint_spec(checkpoint)
        guided = spec.guided_bytes_per_px if getattr(params, "clip_guidance_scale", 0) else 0
        share = params.activation_share * (spec.activation_bytes_per_px + guided)
        activations = int(params.pixels_at_once * share)
        activations += params.pixels_at_once * sum(registry.LOSS_NETWORKS[name][2] for name in params.loss_networks)
    cutouts = sum(registry.CLIP_MODELS[name][2] for name in clip) * params.cutouts_per_step
    return 300 * MIB + weight_bytes(params, checkpoints_dir) + activations + cutouts
