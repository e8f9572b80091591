"""Which of the files in a folder of one's own are its configuration and its weights, told by their names alone.

A training leaves many: taming's and latent-diffusion's log folders have configs/ and checkpoints/ with a file for every
few epochs, guided-diffusion's have averages, weights and optimisers of every few thousand steps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from generator.checkpoints.errors import plain

LEFTOVERS = (".part", ".sha256")
LOG_FOLDERS = ("checkpoints", "configs")  # of a training's folder, in which its files lie


class FolderUnclear(ValueError):
    """A folder or repository that does not say which of its files to take; one sentence."""


@dataclass(frozen=True)
class Layout:
    """What lies in such a folder. configs, weights: suffixes, the ones preferred first."""

    configs: tuple[str, ...]
    weights: tuple[str, ...]
    what: str


# By the kind of the checkpoint.
LAYOUTS: dict[str, Layout] = {
    "vqgan": Layout(
        (".yaml", ".yml"),
        (".safetensors", ".ckpt", ".pt", ".pth", ".bin"),
        "taming's model.yaml and its weights (.safetensors or .ckpt)",
    ),
    "biggan": Layout(
        (".json",),
        (".safetensors", ".bin", ".pt", ".pth"),
        "config.json and the weights (.safetensors or .bin) as pytorch-pretrained-biggan writes them",
    ),
    "guided-diffusion": Layout(
        (),
        (".safetensors", ".pt", ".pth", ".ckpt", ".bin"),
        "the weights (.safetensors or .pt) of OpenAI's unconditional network of that size",
    ),
    "caption-diffusion": Layout(
        (), (".safetensors",), "the .safetensors that a training here wrote (python -m generator.training)"
    ),
    "flow": Layout(
        (".json",),
        (".safetensors",),
        "model.json and model.safetensors as python -m generator.training.family writes them",
    ),
}
_USUAL = re.compile(r"model|config|pytorch_model|last")
_LAST = re.compile(r"last-v(\d+)")  # Lightning's, where there was a last one already
_PROJECT = re.compile(r".+-project")  # taming's own configuration, by the time a run began
# Those of a run that was begun or saved several times; the first kind that is there counts, and of it the last.
_NUMBERED = (
    re.compile(r"ema_(?P<rate>0?\.\d+)_(?P<step>\d+)"),
    re.compile(r"model_?(?P<step>\d+)"),
    re.compile(r"epoch=(?P<epoch>\d+)(-step=(?P<step>\d+))?(-v(?P<version>\d+))?"),
    re.compile(r"(global_)?step=?(?P<step>\d+)"),
)
_NEVER = re.compile(r".+-lightning|opt_?\d+")  # Lightning's own settings, and the states of optimisers


def choose(layout: Layout, names: list[str], *, published: bool = False) -> tuple[str | None, str | None]:
    """The configuration and the weights among the names of files; None for what is not there.

    published: a repository, of which both must be there. Raises FolderUnclear.
    """
    config = _one_of(layout.configs, names, "configuration")
    weights = _one_of(layout.weights, names, "weights")
    if published and (weights is None or (config is None and layout.configs)):
        there = ", ".join(plain(name) for name in sorted(names)[:12]) or "nothing"
        raise FolderUnclear(f"it has {there}, where {layout.what} are needed")
    return config, weights


def files_in(folder: Path) -> list[str]:
    """The files of a folder by their paths in it: those in it, and those in the folders that a training makes there."""
    found = []
    for part in ("", *LOG_FOLDERS):
        try:
            inside = [path for path in (folder / part).iterdir() if path.is_file() and path.suffix not in LEFTOVERS]
        except OSError:
            continue
        found += [f"{part}/{path.name}" if part else path.name for path in inside]
    return found


def _one_of(suffixes: tuple[str, ...], names: list[str], what: str) -> str | None:
    for suffix in suffixes:
        found = sorted((n for n in names if n.endswith(suffix)), key=lambda n: (n.count("/"), n))
        found = [name for name in found if not _NEVER.fullmatch(_stem(name))]
        found = _preferred(found)
        if len(found) > 1:
            some = ", ".join(plain(name) for name in found[:5])
            raise FolderUnclear(
                f"it has several files that could be its {what} ({some}); leave one, or call the one to take "
                f"model{suffix}"
            )
        if found:
            return found[0]
    return None


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return path.name.removesuffix(path.suffix)


def _preferred(found: list[str]) -> list[str]:
    """The one to take, where their names tell; all where they do not. found: those in the folder itself first."""
    last = [name for name in found if _LAST.fullmatch(_stem(name))]
    if last:
        return [max(last, key=lambda name: int(_LAST.fullmatch(_stem(name))[1]))]  # type: ignore[index]
    usual = [name for name in found if _USUAL.fullmatch(_stem(name))]
    if usual:
        return usual[:1]
    if found and all(_PROJECT.fullmatch(_stem(name)) for name in found):
        return [max(found, key=_stem)]  # they begin with the time of the run
    matches = [(name, next(filter(None, (p.fullmatch(_stem(name)) for p in _NUMBERED)), None)) for name in found]
    numbered = {name: match for name, match in matches if match is not None}
    if len(numbered) < len(found):
        return found
    for pattern in _NUMBERED:
        same = {name: match.groupdict() for name, match in numbered.items() if match.re is pattern}
        if same:
            return [max(same, key=lambda name: _age(same[name]))]
    return found


def _age(numbers: dict[str, str | None]) -> tuple[float, ...]:
    """Later ones are greater; of averages at one step the slower is."""
    return tuple(float(numbers.get(key) or 0) for key in ("epoch", "step", "version", "rate"))
