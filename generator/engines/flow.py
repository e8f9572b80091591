"""The second family's flow, drawn with as Stable Diffusion is: the same steps, in the z of its VQGAN."""

from __future__ import annotations

from collections.abc import Sequence

from generator.checkpoints.loading import load_clip, load_flow
from generator.checkpoints.store import require_all
from generator.device import Host
from generator.engines.stable_diffusion import StableDiffusion
from generator.registry.rows import Checkpoint


def load(checkpoint: Checkpoint, clips: Sequence[Checkpoint], host: Host) -> StableDiffusion:
    """The engine on the weights of a family. Raises CheckpointMissing, CheckpointDamaged."""
    require_all(clips, host.checkpoints_dir)
    models = load_flow(checkpoint, host)
    guides = [load_clip(clip, host) for clip in clips]
    return StableDiffusion(models, guides, device=host.device, read_image=host.read_image)
