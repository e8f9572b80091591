"""Finished pictures, four times as wide and high: `python -m generator.upscaler IN.png OUT.png`.

The embedded upscaler is a small SwinIR (Liang et al. 2021, arXiv:2108.10257) trained on what the embedded generators
draw; SwinIR-L and any RGB model that spandrel knows are read from files as well. Large pictures are upscaled tile by
tile, so that the network needs memory for one tile only.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from characters.brief import Brief
from generator import registry
from generator.checkpoints.building import within
from generator.checkpoints.errors import sentence
from generator.checkpoints.fitting import what_is_wrong
from generator.checkpoints.loading import upscaler_weights
from generator.checkpoints.resolve import resolve_upscaler
from generator.checkpoints.state_dict import read_state_dict
from generator.checkpoints.store import upscaler_file
from generator.device import Host
from generator.images.convert import no_picture, to_tensor
from generator.images.encode import to_image
from generator.models.torchvision_operators import declare
from generator.params import Params
from generator.precision import Precision
from generator.registry.rows import Checkpoint
from generator.starts.masks import keep_in_upscaled
from generator.tiling import GRID, MAX_PX, TILE, blends, overlap_of, spans

WEIGHTS = Path(__file__).parent.parent / "weights"
ALIASES = {"mini": "mini-upscaler"}  # as the command line calls it
MAX_WINDOW = 32  # px a side of what attention looks at together; published networks have 8 to 24
MAX_MASK = 1 << 24  # numbers of attention's mask for all windows of a picture


class UpscalerMissing(Brief, FileNotFoundError):
    """There is no file of weights under that name."""


class UnsupportedUpscaler(Brief, ValueError):
    """A file that holds no model which upscales RGB pictures."""


class PictureTooLarge(Brief, ValueError):
    """The upscaled picture would not fit into memory; the message says what would."""


class NotUpscaled(Brief, RuntimeError):
    """A picture could not be upscaled; the message says why. The picture itself is unharmed."""


@dataclass(frozen=True)
class Progress:
    """Tiles done of all; `pictures` (B, 3, s * H, s * W) in [0, 1] once `done == total`, None before."""

    done: int
    total: int
    pictures: Tensor | None

    @property
    def image(self) -> Image.Image | None:
        """The first picture, 8 bits deep."""
        return None if self.pictures is None else to_image(self.pictures[0].cpu())


class Upscaler:
    """One model that upscales pictures `scale` times. Safe from any thread."""

    def __init__(self, model: Any, device: torch.device | str = "cpu") -> None:
        """`model`: what spandrel's loader gives."""
        self.scale: int = model.scale
        best = Precision.best(torch.device(device))
        self.precision = best if model.supports_bfloat16 else Precision(best.device, torch.float32)
        self.network = model.model.to(best.device).eval().requires_grad_(False)

    def upscale(self, images: Tensor, tile: int = TILE, overlap: int | None = None) -> Tensor:
        """images (B, 3, H, W) in [0, 1] -> (B, 3, scale * H, scale * W) float32 in [0, 1] on the same device."""
        *_, last = self.steps(images, tile, overlap)
        assert last.pictures is not None
        return last.pictures

    def steps(self, images: Tensor, tile: int = TILE, overlap: int | None = None) -> Iterator[Progress]:
        """The same, one tile after the other. `tile` and `overlap` in px of `images`; None: a third of the tile.

        Neighbouring tiles are blended over the middle third of their overlap. Raises PictureTooLarge; ValueError for a
        tile or overlap that is no multiple of 8 px, or a tile no wider than two overlaps.
        """
        overlap = overlap_of(tile) if overlap is None else overlap
        if tile % GRID or overlap % GRID or overlap < 0 or tile <= 2 * overlap:
            raise ValueError(
                f"tile {tile} px and overlap {overlap} px must be multiples of {GRID}, "
                "the tile wider than two overlaps."
            )
        batch, _, height, width = images.shape
        if batch * height * width * self.scale**2 > MAX_PX:
            side = int((MAX_PX / batch) ** 0.5 / self.scale)
            raise PictureTooLarge(
                f"A picture of {width} x {height} px is too large to be upscaled {self.scale} times; "
                f"at most {side} x {side} px."
            )
        rows, columns = spans(height, tile, overlap), spans(width, tile, overlap)
        down = blends(rows, height, overlap, self.scale).to(images.device)
        across = blends(columns, width, overlap, self.scale).to(images.device)
        large = images.new_zeros(batch, 3, height * self.scale, width * self.scale, dtype=torch.float32)
        done, total = 0, len(rows) * len(columns)
        for (top, bottom), y_share in zip(rows, down, strict=True):
            for (left, right), x_share in zip(columns, across, strict=True):
                ys, xs = (slice(a * self.scale, b * self.scale) for a, b in ((top, bottom), (left, right)))
                made = self._upscale(images[:, :, top:bottom, left:right])
                large[:, :, ys, xs] += made * y_share[ys, None] * x_share[xs]
                done += 1
                yield Progress(done, total, large if done == total else None)

    @torch.no_grad()
    def _upscale(self, images: Tensor) -> Tensor:
        """One tile, padded to whole windows with its own border: networks mirror it, which narrow pictures cannot."""
        height, width = images.shape[2:]
        right, below = (max(2 * GRID, -(-side // GRID) * GRID) - side for side in (width, height))
        padded = F.pad(images.to(self.precision.device, torch.float32), (0, right, 0, below), mode="replicate")
        with self.precision.autocast():
            made = self.network(padded)
        made = made[:, :, : height * self.scale, : width * self.scale]
        result: Tensor = made.float().clamp(0, 1).to(images.device)
        return result


_lock = threading.Lock()
_kept: dict[tuple[str, ...], Upscaler] = {}  # by name, folder, device, and which file it is now


def upscaler_row(name: str) -> Checkpoint | None:
    """The upscaler of that name in the tables, as the command line may call it; None for what may be a file."""
    return resolve_upscaler(ALIASES.get(name, name))


def load_upscaler(
    name_or_path: str = "mini-upscaler", device: torch.device | str = "cpu",
    checkpoints_dir: str | Path = "data/checkpoints",
) -> Upscaler:  # fmt: skip
    """An upscaler of the tables, or a file of weights that spandrel knows.

    Raises UpscalerMissing, UnsupportedUpscaler, CheckpointMissing, CheckpointDamaged.
    """
    row = upscaler_row(name_or_path)
    if row and not row.embedded:
        weights = upscaler_weights(row, Host(str(device), Path(checkpoints_dir), no_picture))
        return Upscaler(_rgb(_known(row.name, lambda: _described(weights)), row.name), device)
    path = WEIGHTS / "mini-upscaler.safetensors" if row else Path(name_or_path)
    if not path.is_file():
        known = ", ".join([*ALIASES, *(name for name in registry.PUBLISHED if upscaler_row(name))])
        raise UpscalerMissing(
            f"There is no upscaler {name_or_path!r}. Write {known}, or the path of a file of weights."
        )
    model = _known(path.name, lambda: _embedded(path) if row else _described(read_state_dict(path)))
    return Upscaler(_rgb(model, path.name), device)


def _embedded(path: Path) -> Any:
    return swinir().SwinIRArch().load(load_file(path))


def _known(name: str, read: Callable[[], Any]) -> Any:
    """What it gives. Raises UnsupportedUpscaler."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.meshgrid")  # SwinIR as spandrel builds it
            return read()
    except Exception as error:  # spandrel, torch and safetensors each have their own for a file they do not know
        raise UnsupportedUpscaler(f"{name} holds no upscaler that spandrel knows: {sentence(error)}") from None


def _rgb(model: Any, name: str) -> Any:
    if (model.input_channels, model.output_channels) != (3, 3):
        raise UnsupportedUpscaler(f"{name} holds a model that does not turn RGB pictures into RGB pictures.")
    return model


def _described(weights: dict[str, Tensor]) -> Any:
    """What spandrel makes of weights that were read without running anything; spandrel's own reader might."""
    declare()
    import spandrel  # type: ignore[import-untyped]

    with within(weights):
        _check_windows(weights)
        try:
            return spandrel.ModelLoader().load_from_state_dict(weights)
        except spandrel.UnsupportedModelError as error:
            raise ValueError(what_is_wrong(error, weights, "upscaler")) from None


def _check_windows(weights: dict[str, Tensor]) -> None:
    """The tables and masks of attention grow with the fourth power of a window's side, and one shape sets it."""
    places = max((len(value) for key, value in weights.items() if "relative_position_index" in key), default=1)
    windows = max((len(value) for key, value in weights.items() if key.endswith("attn_mask")), default=1)
    if places > MAX_WINDOW**2 or windows * places**2 > MAX_MASK:
        raise ValueError(f"its attention looks at {windows} windows of {places} places")


def swinir() -> Any:
    """`spandrel.architectures.SwinIR` without the other forty architectures and the torchvision they import.

    `import spandrel` takes 1 to 3 s, mostly for torchvision, which imports torch's compiler; this takes 0.02 s.
    """
    name = "spandrel.architectures.SwinIR"
    with _lock:
        if "spandrel" in sys.modules:
            return importlib.import_module(name)
        spec = importlib.util.find_spec("spandrel")
        if spec is None:
            raise ModuleNotFoundError("No module named 'spandrel'", name="spandrel")
        sys.modules["spandrel"] = importlib.util.module_from_spec(spec)  # its folder is known, its code is not run
        try:
            return importlib.import_module(name)
        finally:  # a later `import spandrel` must find the whole package
            for loaded in [key for key in sys.modules if key.split(".")[0] == "spandrel"]:
                del sys.modules[loaded]


def upscale_steps(
    image: Image.Image,
    factor: int,
    name: str = "mini-upscaler",
    *,
    device: str = "cpu",
    checkpoints_dir: str | Path = "data/checkpoints",
) -> Iterator[Progress]:
    """Upscales a finished picture, tile by tile; the last Progress has the picture.

    name: as the setting `upscaler`. The embedded one works on the CPU whatever the device, so that it makes the same
    picture everywhere and takes no memory from pictures in progress. Raises NotUpscaled, whatever the reason, so that
    the caller can keep the picture as it is.
    """
    try:
        row = upscaler_row(name)
        embedded = row is not None and row.embedded
        own = None if row else upscaler_file(name, Path(checkpoints_dir))
        key = (name, str(WEIGHTS), "cpu") if embedded else (name, str(checkpoints_dir), device, _identity(own))
        upscaler = _kept.get(key)
        if upscaler is None:
            for old in [one for one in _kept if one[:3] == key[:3]]:
                _kept.pop(old, None)
            upscaler = _kept.setdefault(key, load_upscaler(str(own or name), key[2], checkpoints_dir))
        if upscaler.scale != factor:
            what = "The embedded upscaler" if embedded else f"The upscaler {name}"
            raise UnsupportedUpscaler(f"{what} upscales {upscaler.scale} times, not {factor} times.")
        yield from upscaler.steps(to_tensor(image)[None])
    except (MemoryError, torch.OutOfMemoryError):
        raise NotUpscaled("There is not enough memory to upscale the picture.") from None
    except Exception as error:  # of drawing and driver libraries too: the picture is worth more than a larger one
        raise NotUpscaled(" ".join(str(error).split()) or type(error).__name__) from error


def _identity(path: Path | None) -> str:
    """Another one where the file was written anew."""
    return "" if path is None else "{0.st_size} {0.st_mtime_ns}".format(path.stat())


def upscale(
    image: Image.Image,
    factor: int,
    name: str = "mini-upscaler",
    *,
    device: str = "cpu",
    checkpoints_dir: str | Path = "data/checkpoints",
) -> Image.Image:
    """The same at once."""
    *_, last = upscale_steps(image, factor, name, device=device, checkpoints_dir=checkpoints_dir)
    assert last.image is not None
    return last.image


def as_asked(
    drawn: Image.Image | None,
    params: Params,
    refused: Callable[[NotUpscaled], object],
    *,
    read_image: Callable[[str], Image.Image] = no_picture,
    device: str,
    checkpoints_dir: str | Path,
) -> Image.Image | None:
    """A finished drawing as large as its `upscale` says, with what it keeps of a picture; None where it stays as drawn.
    `refused` is told why, where it could not be upscaled."""
    if drawn is None or params.upscale == 1:
        return None
    try:
        large = upscale(drawn, params.upscale, params.upscaler, device=device, checkpoints_dir=checkpoints_dir)
        return keep_in_upscaled(large, params, read_image)
    except NotUpscaled as error:
        refused(error)
        return None
