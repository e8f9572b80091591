"""Averages of weights over a training (EMA), as LitEma of latent-diffusion keeps them beside the weights themselves.

Their names are those of the weights without the dots: `model_ema.decodermidblock_1norm1weight` is the average of
`decoder.mid.block_1.norm1.weight`. Pictures are drawn with the averages, as the published models do, unless they are
not whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

PREFIX = "model_ema."
BESIDE = ("model_ema.decay", "model_ema.num_updates")


def averaged(tensors: Mapping[str, Tensor], names: Iterable[str], *, inside: str = "") -> dict[str, Tensor] | None:
    """The averages of the tensors of these names, by the same names; None where one is missing or of another shape.

    inside: what the names begin with that the averages' do not.
    """
    found = {}
    for name in names:
        average = tensors.get(PREFIX + name.removeprefix(inside).replace(".", ""))
        if average is None or average.shape != tensors[name].shape:
            return None
        found[name] = average
    return found or None


def has_averages(tensors: Mapping[str, Tensor]) -> bool:
    """Whether there are any, whole or not."""
    return any(name.startswith(PREFIX) and name not in BESIDE for name in tensors)
