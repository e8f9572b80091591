"""Reads weights out of a file without running anything that is in it.

Four formats: safetensors, a zip archive of torch.save (plain state dict or Lightning .ckpt), the plain pickles it wrote
before PyTorch 1.6, and, where the caller vouches for the file's sha256, OpenAI's TorchScript archive.
"""

from __future__ import annotations

import collections
import pickle
import types
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

OLD_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began before PyTorch 1.6
WRAPPERS = ("state_dict", "params_ema", "params")  # under which Lightning and the makers of upscalers keep the weights


class BadStateDict(ValueError):
    """A file from which no weights can be read; the message says what is wrong with it."""


def read_state_dict(path: Path, *, allow_torchscript: bool = False) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, in the dtype they were saved in.

    allow_torchscript: only for a file whose sha256 was checked, since a TorchScript archive holds a program.
    Raises BadStateDict, FileNotFoundError.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if head[:4] == b"PK\x03\x04":
        saved = _read_zip(path, allow_torchscript)
    elif len(head) > 8 and head[8:9] == b"{":
        saved = _read_safetensors(path)
    elif head.startswith(OLD_TORCH):
        saved = _read_old(path)
    elif head.lstrip()[:1] == b"<":
        raise BadStateDict("it is a web page, not weights")
    else:
        raise BadStateDict("it is neither safetensors nor what torch.save writes")
    return _tensors(saved)


def check_whole(path: Path) -> None:
    """Reads a file once: checks the CRC-32 of all a zip archive holds, or that old weights can be read to their end.

    Raises BadStateDict.
    """
    with path.open("rb") as file:
        if file.read(len(OLD_TORCH)) == OLD_TORCH:
            _tensors(_read_old(path))
            return
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive, path)
            broken = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise BadStateDict(f"its zip archive cannot be read ({error})") from None
    if broken:
        raise BadStateDict(f"its part {broken} has a wrong checksum")


def check_safetensors(path: Path) -> None:
    """Reads a safetensors header and checks that the file is as long as it says. Raises BadStateDict."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            file.keys()
    except (SafetensorError, OSError) as error:
        raise BadStateDict(f"its safetensors header cannot be read ({_first_line(error)})") from None


def _check_sizes(archive: zipfile.ZipFile, path: Path) -> None:
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > 4 * path.stat().st_size + (64 << 20):
        raise BadStateDict(f"it would unpack to {unpacked / 1e6:.0f} MB, far more than weights do")


def _read_zip(path: Path, allow_torchscript: bool) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive, path)
            names = {name.partition("/")[2] for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise BadStateDict(f"its zip archive cannot be read ({error}); it may be cut short") from None
    if "constants.pkl" in names:
        if not allow_torchscript:
            raise BadStateDict("it is a TorchScript program where weights are expected")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            try:
                return torch.jit.load(str(path), map_location="cpu").state_dict()
            except (RuntimeError, ValueError) as error:
                raise BadStateDict(f"its TorchScript archive cannot be read ({_first_line(error)})") from None
    if "data.pkl" not in names:
        raise BadStateDict("it is a zip archive, but not one of torch.save")
    try:
        # A Lightning checkpoint also holds the optimiser's moments, twice the model's size: mapped, they stay on disk.
        return torch.load(path, map_location="cpu", mmap=True, weights_only=False, pickle_module=_unpickling())
    except Exception as error:  # what a damaged or hostile pickle raises is up to whoever wrote it
        raise BadStateDict(f"its pickle cannot be read ({type(error).__name__}: {_first_line(error)})") from None


def _read_old(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # as above
        raise BadStateDict(f"its pickle cannot be read ({type(error).__name__}: {_first_line(error)})") from None


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise BadStateDict(f"its safetensors header cannot be read ({_first_line(error)})") from None


def _tensors(saved: Any) -> dict[str, Tensor]:
    inner = saved if isinstance(saved, dict) else None
    if inner is not None:
        inner = next((inner[name] for name in WRAPPERS if isinstance(inner.get(name), dict)), inner)
    if not isinstance(inner, dict) or not inner:
        raise BadStateDict("it holds no state dict")
    for key, value in inner.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise BadStateDict(f"its entry {str(key)[:60]!r} is no tensor")
    return dict(inner)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


class _Inert:
    """Stands in for every object of a checkpoint that is not a tensor: takes any pickle opcode, does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __call__(self, *args: Any, **kwargs: Any) -> _Inert:
        return self

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None: ...

    def extend(self, items: Any) -> None: ...

    def add(self, item: Any) -> None: ...


def _unpickling() -> Any:
    """What torch.load takes as pickle_module: an unpickler that knows tensors and ordered dicts, nothing else.

    Made anew for each file, functions wrapped: a pickle can set attributes on what find_class returns, and must not
    reach torch's own functions that way. torch.load itself resolves the storage types before asking find_class.
    """
    from torch._utils import _rebuild_parameter, _rebuild_tensor_v2

    def rebuild_tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
        return _rebuild_tensor_v2(storage, offset, size, stride, False, collections.OrderedDict())

    def rebuild_parameter(data: Any, *_: Any) -> Any:
        return _rebuild_parameter(data, False, collections.OrderedDict())

    allowed: dict[tuple[str, str], Any] = {
        ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
        ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
        ("torch", "Size"): torch.Size,
        ("collections", "OrderedDict"): collections.OrderedDict,
    }

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return allowed.get((module, name)) or type("Inert", (_Inert,), {})

    def load(file: Any, **options: Any) -> Any:
        return Unpickler(file, **options).load()

    return types.SimpleNamespace(Unpickler=Unpickler, load=load, __name__="generator.checkpoints.state_dict")
