"""What torch.save wrote: which tensors there are and where their numbers lie. torch is not imported.

Two formats: a zip archive with one pickle and the numbers beside it, and five pickles in a row with the numbers behind
them (before PyTorch 1.6). One parser reads the pickles (pickled.py) and one the archive (zip_archive.py), so that what
was checked is what is read.
"""

from __future__ import annotations

import io
import mmap
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from generator.checkpoints.errors import UNFIT, is_name, sentence, shown
from generator.checkpoints.kinds import of_head, of_value
from generator.checkpoints.pickled import MAX_BYTES, BadPickle, Inert, Storage, StoredTensor, interpret, interpret_bytes
from generator.checkpoints.safetensors_header import MAX_TENSORS, BadHeader, read_shapes
from generator.checkpoints.zip_archive import STORED, BadArchive, Entry, check_crc, entries

# How torch.save began before PyTorch 1.6, whatever the protocol of its pickles: with this number.
OLD_MAGIC, OLD_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_MAGIC = (OLD_MAGIC.to_bytes(10, "little"), f"L{OLD_MAGIC}".encode())
_HEAD = 512  # bytes by which formats are told
_MAGIC_WITHIN = 32  # bytes
_FEW = 1000  # opcodes of the small pickles of such a file
_KEYS = 1_000_000  # of the list of its storages
# Under which weights are kept beside other things: averaged ones first, then Lightning's, then in spandrel's order.
WRAPPERS = (
    "model_ema", "ema_state_dict", "state_dict_ema", "ema", "g_ema", "model_state_dict", "state_dict", "params_ema",
    "params-ema", "params", "model", "net", "module", "generator", "unet", "network", "weights",
)  # fmt: skip
MAX_WRAPPERS = 4  # around each other
MAX_DEPTH = 64  # of modules within modules
MAX_WORK = 5_000_000  # attributes, and characters of the names of what is in them
_BESIDE = (str, bytes, int, float, bool, type(None))  # values that may stand beside the weights
# Bytes of a number, by the name of torch's storage class.
SIZES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1, "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16, "QInt8Storage": 1, "QUInt8Storage": 1, "QInt32Storage": 4, "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
}  # fmt: skip


Held = TypeVar("Held")


class BadStateDict(ValueError):
    """A file from which no weights can be read; the message says what is wrong with it."""


def head_of(path: Path) -> bytes:
    """The first bytes of a file, by which its format is told. Raises BadStateDict, FileNotFoundError."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise BadStateDict(f"it cannot be read ({sentence(error)})") from None


def is_zip(head: bytes) -> bool:
    """Whether a file that begins so is a zip archive."""
    return head[:4] == b"PK\x03\x04"


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins so can be one of safetensors."""
    return len(head) > 8 and head[8:9] == b"{"


def is_old(head: bytes) -> bool:
    """Whether a file that begins so is one of torch.save before PyTorch 1.6."""
    return (head[:1] == b"\x80" and _MAGIC[0] in head[:_MAGIC_WITHIN]) or head.startswith(_MAGIC[1])


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a file of weights by their names; no number is read. Raises BadStateDict,
    FileNotFoundError."""
    head = head_of(path)
    if is_safetensors(head):
        try:
            return unwrapped(read_shapes(path))
        except BadHeader as error:
            raise BadStateDict(f"its safetensors header cannot be read ({error})") from None
    if not is_zip(head) and not is_old(head):
        raise BadStateDict(of_head(head) or "it is neither safetensors nor what torch.save writes")
    with mapped(path) as data:
        tensors = in_zip(data, False)[0] if is_zip(head) else in_old(data)[0]
    return unwrapped({name: tensor.size for name, tensor in tensors.items()})


def unwrapped(held: Mapping[str, Held]) -> dict[str, Held]:
    """By the names the model itself gives them: DataParallel puts `module.` before all, torch.compile `_orig_mod.`."""
    found = {name.replace("_orig_mod.", ""): value for name, value in held.items()}
    if all(name.startswith("module.") for name in found):
        found = {name.removeprefix("module."): value for name, value in found.items()}
    return found if len(found) == len(held) else dict(held)


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """The bytes of a file, mapped: a Lightning checkpoint also holds the optimiser's moments, twice the model's size,
    which stay on disk. Whatever is wrong with the file is raised as BadStateDict, or FileNotFoundError."""
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        yield data
    except (BadStateDict, FileNotFoundError):
        raise
    except BadArchive as error:
        raise BadStateDict(f"its zip archive cannot be read ({error})") from None
    except BadPickle as error:
        raise BadStateDict(f"its pickle cannot be read ({error})") from None
    except UNFIT as error:
        raise BadStateDict(f"it cannot be read ({sentence(error)})") from None


def archive(data: mmap.mmap) -> dict[str, Entry]:
    """The parts of a zip archive, which may not unpack to far more than weights do. Raises BadArchive, BadStateDict."""
    found = entries(data)
    unpacked = sum(entry.size for entry in found.values())
    if unpacked > 4 * len(data) + (64 << 20):
        raise BadStateDict(f"it would unpack to {unpacked / 1e6:.0f} MB, far more than weights do")
    return found


def in_zip(data: mmap.mmap, torchscript: bool) -> tuple[dict[str, StoredTensor], dict[str, Entry]]:
    """The tensors of a zip archive, and its parts, among which their numbers are. Raises BadStateDict, BadPickle."""
    found = archive(data)
    if "constants.pkl" in found and not torchscript:
        raise BadStateDict(
            "it is a TorchScript program where weights are expected, and is not run; save those where the model is: "
            "torch.save(model.state_dict(), 'model.ckpt')"
        )
    if "data.pkl" not in found:
        raise BadStateDict(
            "it is a zip archive, but not one of torch.save; if weights are in it, unpack it: unzip FILE"
        )
    order = _bytes(data, "byteorder", found["byteorder"]) if "byteorder" in found else b"little"
    if order.decode("latin-1") != sys.byteorder:
        raise BadStateDict("its numbers are in the byte order of another kind of processor")
    saved = interpret_bytes(_bytes(data, "data.pkl", found["data.pkl"]))
    return (_module_tensors(saved) if "constants.pkl" in found else _named(saved)), found


def _bytes(data: mmap.mmap, name: str, entry: Entry) -> bytes:
    if entry.method != STORED or entry.size > MAX_BYTES:
        raise BadStateDict(f"its part {shown(name)} is packed, or far larger than that of weights")
    check_crc(data, name, entry)
    return data[entry.start : entry.start + entry.size]


def in_old(data: mmap.mmap) -> tuple[dict[str, StoredTensor], dict[str, int]]:
    """The tensors of an old file, and by the key of each storage the byte at which its numbers begin.

    Five pickles (magic number, protocol, byte order and sizes, the weights, keys of storages), then the storages.
    Raises BadStateDict, BadPickle.
    """
    file = io.BytesIO(data[: MAX_BYTES + (16 << 20)])
    pointed_at: dict[str, Storage] = {}
    magic, protocol, system = (interpret(file, opcodes=_FEW) for _ in range(3))
    if (magic, protocol) != (OLD_MAGIC, OLD_PROTOCOL) or not isinstance(system, dict):
        raise BadStateDict("it is of another version of torch.save")
    if system.get("little_endian") is not (sys.byteorder == "little"):
        raise BadStateDict("its numbers are in the byte order of another kind of processor")
    wanted, keys = _named(interpret(file, pointed_at)), interpret(file, opcodes=_KEYS)
    listed = isinstance(keys, list) and len(keys) == len(pointed_at) and all(isinstance(key, str) for key in keys)
    if not listed or set(keys) != pointed_at.keys():
        raise BadStateDict("its list of storages is not that of its tensors")
    at, places = file.tell(), {}
    for key in keys:
        numel = int.from_bytes(data[at : at + 8], "little")
        if numel != pointed_at[key].numel:
            raise BadStateDict(f"the numbers {shown(key)} of a tensor are more or fewer than it says")
        places[key] = at + 8
        kind = pointed_at[key].kind
        at += 8 + numel * _size(kind)
    if at != len(data):
        raise BadStateDict("it is longer or shorter than its tensors are; it may be cut short")
    return wanted, places


def _size(kind: str) -> int:
    if kind not in SIZES:
        raise BadStateDict(f"it holds numbers as {shown(kind)}; {', '.join(SIZES)} are read")
    return SIZES[kind]


def _named(saved: Any) -> dict[str, StoredTensor]:
    """The state dict itself, or the one under the name that Lightning and others keep it under."""
    if not isinstance(saved, dict):
        raise BadStateDict(of_value(saved) or "it holds no state dict")
    inner = saved
    for _ in range(MAX_WRAPPERS):
        within = [inner[name] for name in WRAPPERS if isinstance(inner.get(name), dict)]
        if not within:
            break
        inner = next((one for one in within if _has_tensors(one)), within[0])
    if not inner or len(inner) > MAX_TENSORS:
        raise BadStateDict(of_value(saved) or "it holds no state dict")
    for key, value in inner.items():
        if not isinstance(key, str):
            raise BadStateDict(of_value(saved) or "one of its entries has no name, or one that is far too long")
        if not isinstance(value, (StoredTensor, *_BESIDE)):
            raise BadStateDict(of_value(saved) or f"its entry {shown(key)} is no tensor")
    return _of_names({key: value for key, value in inner.items() if isinstance(value, StoredTensor)})


def _has_tensors(value: dict[Any, Any]) -> bool:
    """Whether it can be a state dict, or holds one under a name that such have."""
    return any(isinstance(one, StoredTensor) for one in value.values()) or any(
        isinstance(value.get(name), dict) for name in WRAPPERS
    )


def _of_names(found: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The same, checked."""
    if not found:
        raise BadStateDict("it holds no state dict")
    for name in found:
        if not is_name(name):
            raise BadStateDict(f"{shown(name)} is no name of a tensor")
    return found


def _module_tensors(root: Any) -> dict[str, StoredTensor]:
    """Parameters and buffers of a TorchScript module: the tensors among its attributes and its submodules'."""
    found: dict[str, StoredTensor] = {}
    waiting, work = [("", root, 0)], 0
    while waiting:
        prefix, module, depth = waiting.pop()
        state = getattr(module, "state", {})
        work += 1 + len(state)
        for name, value in state.items():
            path = f"{prefix}{name}"
            if isinstance(value, StoredTensor):
                found[path] = value
            elif isinstance(value, Inert):
                waiting.append((f"{path}.", value, depth + 1))
            else:
                continue
            work += 100 + len(path)
            # One module can stand in many places, so that few of them make endlessly many.
            if depth >= MAX_DEPTH or work > MAX_WORK or len(found) > MAX_TENSORS or not is_name(path):
                raise BadStateDict("its modules are nested far deeper than those of any model")
    return _of_names(found)
