"""Whether the tensors of a file are those of a network, to the last key and shape, and what they are where not."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from generator.checkpoints.errors import plain, sentence
from generator.checkpoints.kinds import of_tensors


def what_is_wrong(error: BaseException, tensors: Mapping[str, Tensor], loader: str) -> str:
    """What the file is, where it is known to be of another kind than the loader takes; else what the error says."""
    if isinstance(error, MemoryError):
        return sentence(error)
    return of_tensors({name: tuple(value.shape) for name, value in tensors.items()}, loader) or sentence(error)


def check_shapes(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises ValueError for a tensor of `expected` that is missing or of another shape."""
    for key, shape in expected.items():
        found = tuple(tensors[key].shape) if key in tensors else "missing"
        if found != shape:
            raise ValueError(f"{key} is {found} where {shape} belongs, so it is another model than its name says")


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raises ValueError for numbers that are none."""
    for key, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f"{key} holds values that are not finite")


def load_strictly(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Every key and every shape must match; ValueError names the first ones that do not."""
    wanted = model.state_dict()
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    wrong = [key for key in sorted(wanted.keys() & tensors.keys()) if wanted[key].shape != tensors[key].shape]
    if missing:
        raise ValueError(f"{len(missing)} of {len(wanted)} tensors are missing, the first is {missing[0]}")
    if extra:
        raise ValueError(f"{len(extra)} tensors do not belong to the model, the first is {plain(extra[0])}")
    if wrong:
        found, right = tuple(tensors[wrong[0]].shape), tuple(wanted[wrong[0]].shape)
        raise ValueError(
            f"{len(wrong)} tensors have another shape, the first is {wrong[0]}: {found} instead of {right}"
        )
    owned = {key: _owned(value) for key, value in tensors.items()}
    check_finite(owned)
    model.load_state_dict(owned, strict=True, assign=True)


def _owned(value: Tensor) -> Tensor:
    """In fp32 and in a place of its own, since the file is only mapped and may be removed while the model lives; in the
    order of its axes, since products of numbers in another order differ in the last bit."""
    made = value.float().contiguous()
    return made.clone() if made.data_ptr() == value.data_ptr() else made
