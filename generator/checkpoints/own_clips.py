"""CLIPs of one's own: `clip/NAME` is the file clip/NAME.safetensors in the folder of the checkpoints, as
`generator.training.relations` packs one. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from generator import registry
from generator.checkpoints.errors import UNFIT, CheckpointDamaged, CheckpointMissing, plain, sentence
from generator.checkpoints.torch_save import shapes_in
from lasting import make_folder, put_in_place

if TYPE_CHECKING:
    from torch import Tensor

    from generator.models.clip import ClipModel

FOLDER = "clip"
MAX_WIDTH = 1024  # of the text tower, whose table of tokens is unpacked to as many numbers a token
OURS = ("token_rows", "token_index", "text_projection", "visual.proj")  # tensors that every one of them has


def own_clips(directory: Path) -> list[str]:
    """The names of those that are there, as far as their headers tell."""
    return [name for name, problem in _looked_at(directory).items() if problem is None]


def unusable_clips(directory: Path) -> dict[str, str]:
    """What lies in the folder and is none: what is wrong with it, as a sentence, by its path below `directory`."""
    return {f"{name}.safetensors": problem for name, problem in _looked_at(directory).items() if problem is not None}


def clip_file(name: str, directory: Path) -> Path:
    """The file of one by its name. Raises CheckpointMissing."""
    path = directory / f"{name}.safetensors"
    if registry.is_own_clip(name) and path.is_file():
        return path
    raise CheckpointMissing(
        f"There is no CLIP {plain(name)!r} in {directory}: put its {path.name}, as the second family's recipe "
        f"packs it, into {directory / FOLDER}."
    )


def write(name: str, directory: Path, packed: Mapping[str, Tensor]) -> Path:
    """The file of a CLIP, whole or not at all, of tensors as `relations.packed` gives them."""
    from safetensors.torch import save_file

    target = directory / f"{name}.safetensors"
    make_folder(target.parent)
    kept = {key: value.half() if value.is_floating_point() else value for key, value in packed.items()}
    save_file({key: value.contiguous() for key, value in kept.items()}, target.with_suffix(".part"))
    put_in_place(target.with_suffix(".part"), target)
    return target


def load(name: str, directory: Path) -> ClipModel:
    """A CLIP in fp32, in eval mode, without gradients, on the CPU. Raises CheckpointMissing, CheckpointDamaged."""
    from generator.checkpoints.building import within
    from generator.checkpoints.fitting import check_finite, what_is_wrong
    from generator.checkpoints.state_dict import read_state_dict
    from generator.models.clip import from_state_dict
    from generator.tokens import CONTEXT

    path = clip_file(name, directory)
    tensors: dict[str, Tensor] = {}
    try:
        tensors = read_state_dict(path)
        weights = _unpacked(tensors)
        if (read := len(weights["positional_embedding"])) != CONTEXT:
            raise ValueError(f"it reads {read} tokens, not {CONTEXT}")
        check_finite(weights)
        with within(weights):
            model = from_state_dict(weights, name)
    except UNFIT as error:
        raise CheckpointDamaged(f"{path} cannot be used: {what_is_wrong(error, tensors, 'clip')}.") from None
    return model


def _unpacked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights; nothing grows but the table of tokens, and that to a size which is known. Raises ValueError."""
    import torch

    from generator.models.clip import scatter_tokens
    from generator.models.clip_text import VOCABULARY
    from generator.models.packing import unpack

    for key, value in tensors.items():
        scale = tensors.get(f"{key}.scale")
        if scale is not None and torch.broadcast_shapes(value.shape, scale.shape) != value.shape:
            raise ValueError(f"the scale of {plain(key)} does not fit it")
    weights = unpack(tensors)
    rows, index = weights.pop("token_rows"), weights.pop("token_index")
    if rows.dim() != 2 or rows.shape[1] > MAX_WIDTH or index.shape != rows.shape[:1] or index.is_floating_point():
        raise ValueError("its table of tokens does not fit together")
    if not len(index) or int(index.min()) < 0 or int(index.max()) >= VOCABULARY:
        raise ValueError("its table has tokens that there are not")
    return weights | {"token_embedding.weight": scatter_tokens(rows, index, VOCABULARY)}


def _looked_at(directory: Path) -> dict[str, str | None]:
    """What is wrong with each file of the folder, None where nothing is, by its name."""
    found: dict[str, str | None] = {}
    for path in sorted((directory / FOLDER).glob("*.safetensors")):
        name = f"{FOLDER}/{path.stem}"
        try:
            there = shapes_in(path)
        except UNFIT as error:
            found[name] = f"It cannot be used: {sentence(error)}."
            continue
        missing = [key for key in OURS if key not in there]
        found[name] = f"It is no CLIP of the second family: it has no {missing[0]}." if missing else None
        if not registry.is_own_clip(name):
            found[name] = "Its name has signs other than letters, digits, _, . and -, or begins with one: rename it."
    return found
