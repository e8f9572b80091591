"""How much memory a job needs, as far as its parameters tell. Importing this module does not import torch."""

from __future__ import annotations

from pathlib import Path

from generator import registry
from generator.checkpoints import diffusers_folder, single_file
from generator.params import JobParams
from generator.registry.rows import MIB


def weight_bytes(params: JobParams, checkpoints_dir: str | Path | None = None) -> int:
    """Bytes of the weights a job needs on the device, shared with every other job of the same engine.

    checkpoints_dir: where a folder of one's own is measured; without it, it counts as Stable Diffusion 1.5.
    """
    checkpoint, clip = params.loads
    own = 0
    if checkpoint != registry.NO_CHECKPOINT:
        own = checkpoint_bytes(checkpoint, checkpoints_dir, low=getattr(params, "memory", None) == "low")
    beside = [registry.clip_model(name) for name in clip]
    beside += [registry.LOSS_NETWORKS[name] for name in params.loss_networks]
    return own + sum(row.weight_bytes for row in beside)


def checkpoint_bytes(checkpoint: str, checkpoints_dir: str | Path | None = None, *, low: bool = False) -> int:
    """Bytes of a checkpoint's weights on the device. low: of its largest network, where no two are there together."""
    row = registry.checkpoint(checkpoint)
    own = row.min_weight_bytes if low and row.min_weight_bytes else row.weight_bytes
    if checkpoints_dir is not None and row.own and row.kind == "diffusers":
        measured = _measured(Path(checkpoints_dir), checkpoint)
        own = own if measured is None else measured[low]
    return own


def _measured(directory: Path, checkpoint: str) -> tuple[int, int] | None:
    """Bytes of all networks and of the largest; None where there is nothing to measure, or nothing that is a model."""
    try:
        file = single_file.find(directory, checkpoint)
    except diffusers_folder.BadFolder:
        return None  # said when it is loaded
    return single_file.weight_bytes(file) if file else diffusers_folder.weight_bytes(directory / checkpoint)


def estimate_memory(params: JobParams, checkpoints_dir: str | Path | None = None) -> int:
    """Bytes of device memory one job of its own needs, weights included: an upper estimate, torch not needed.

    checkpoints_dir: as in weight_bytes.
    """
    checkpoint, clip = params.loads
    activations = 0
    if params.pixels_at_once and checkpoint != registry.NO_CHECKPOINT:
        row = registry.checkpoint(checkpoint)
        guided = row.guided_bytes_per_px if getattr(params, "clip_guidance_scale", 0) else 0
        losses = sum(registry.LOSS_NETWORKS[name].activation_bytes_per_px for name in params.loss_networks)
        activations = int(params.pixels_at_once * params.activation_share * (row.activation_bytes_per_px + guided))
        activations += params.pixels_at_once * losses
    cutouts = sum(registry.clip_model(name).activation_bytes_per_cutout for name in clip) * params.cutouts_per_step
    return 300 * MIB + weight_bytes(params, checkpoints_dir) + activations + cutouts
