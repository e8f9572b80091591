"""The tensors of a VQGAN out of what a training wrote: without its losses, and its averages where they are whole."""

from __future__ import annotations

import re

from torch import Tensor

from generator.checkpoints.averages import PREFIX, averaged, has_averages
from generator.checkpoints.download import Say

_FIRST_STAGE = "first_stage_model."
# The losses and their networks, a projection that shows label maps as colours, the averages, and of the codebook what
# only a training needs: counts and sums of EMAVQ, and the list of the codes in use.
_BESIDE = re.compile(
    r"(loss|discriminator|perceptual_loss|model_ema|colorize)\b.*|"
    r"quantize\.(embedding\.(cluster_size|embed_avg)|embed_prob|used|temperature)"
)


def is_first_stage(key: str) -> bool:
    """Whether a tensor of that name belongs to the VQGAN of a model over its codes."""
    return key.startswith(f"{_FIRST_STAGE}quantize.")


def vqgan_part(tensors: dict[str, Tensor], name: str, say: Say) -> dict[str, Tensor]:
    """What the network is loaded from; out of the checkpoint of a model over its codes, the first stage alone.

    name: of the file, for say, which gets what was decided where there was a choice.
    """
    if any(key.startswith(_FIRST_STAGE) for key in tensors):
        tensors = {k.removeprefix(_FIRST_STAGE): v for k, v in tensors.items() if k.startswith(_FIRST_STAGE)}
    kept = {key: value for key, value in tensors.items() if not _BESIDE.fullmatch(key)}
    if not has_averages(tensors):
        return kept
    # A codebook that is itself an average has none.
    own = [key for key in kept if key.startswith("quantize.") and PREFIX + key.replace(".", "") not in tensors]
    found = averaged(tensors, [key for key in kept if key not in own])
    if found is None:
        say(f"{name}: the averages of its weights (EMA) are not whole, so the weights themselves are drawn with.")
        return kept
    say(f"{name}: the averages of its weights (EMA) are drawn with.")
    return kept | found
