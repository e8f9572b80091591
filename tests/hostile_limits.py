"""Small files that take time or memory without end in a reader that believes them: pickles, modules, and upscalers."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from safetensors.torch import save

from tests.hostile_pickles import archive, named, old, tensor, text

COLLIDING = (1 << 61) - 1  # Python's hash of a whole number is its remainder from this


def hostile_limits() -> Iterator[tuple[str, bytes]]:
    """Names and contents. Of the kind "limit" each takes long, and those with "module" in their names are programs;
    of the kind "upscaler" each is a state dict that spandrel would build a network from."""
    yield from _pickles()
    yield from _modules()
    for name, tensors in _upscalers():
        held = io.BytesIO()
        torch.save(tensors, held)
        yield f"upscaler/{name}", held.getvalue()
    yield "upscaler/numbers-of-8-bits", save({"w": torch.zeros(4).to(torch.float8_e4m3fn)})


def _pickles() -> Iterator[tuple[str, bytes]]:
    yield "limit/dictionaries-without-end", archive(b"\x80\x02" + b"}" * 4_100_000 + b".")
    yield "limit/larger-than-weights-have", archive(b"\x80\x02" + b"N0" * (33 << 20) + b"N.")
    ordered = b"\x80\x02ccollections\nOrderedDict\nq\x01"
    many = b"".join(text(f"{number:03}") + b"N\x86" for number in range(1000))
    yield (
        "limit/a-list-copied-again-and-again",
        archive(ordered + b"](" + many + b"e\x85q\x02" + b"h\x01h\x02R" * 200_000 + b"."),
    )
    one = b"](" + text("a") + b"N\x86q\x02" + b"h\x02" * 20_000 + b"e\x85q\x03"
    yield "limit/a-list-of-one-name-copied", archive(ordered + one + b"h\x01h\x03R0" * 200_000 + b".")
    through = b"ctorch._tensor\n_rebuild_from_type_v2\nq\x05(h\x01N" + one + b"Ntq\x04"
    yield "limit/a-list-copied-through-a-type", archive(ordered + through + b"h\x05h\x04R0" * 200_000 + b".")
    colliding = [n * COLLIDING for n in range(1, 60_000)]
    keys = b"".join(b"\x8a\x0b" + key.to_bytes(11, "little") + b"N" for key in colliding)
    yield "limit/numbers-for-names-that-collide", archive(b"\x80\x02}(" + keys + b"u.")
    puts = b"".join(b"p%d\n" % key for key in colliding)
    yield "limit/numbers-put-aside-that-collide", archive(b"\x80\x02N" + puts + b".")
    long = "a" * (8 << 20)
    two = text(long) + b"q\x01" + text(long) + b"q\x02"
    yield (
        "limit/two-long-names-in-turn",
        archive(b"\x80\x02" + two + b"}" + b"h\x01Nsh\x02Ns" * 100_000 + b"."),
    )
    point = b"ctorch\nFloatStorage\nq\x03" + text("storage") + b"q\x04"
    turns = b"".join(b"(h\x04h\x03h%ch\x04K\x04tQ" % key for key in (1, 2)) * 50_000
    yield "limit/two-long-keys-in-turn", archive(b"\x80\x02" + two + point + turns + b".")
    listed = b"\x80\x02](" + text(long) + b"q\x01" + b"h\x01" * 100_000 + b"e."
    yield "limit/a-long-key-listed-again-and-again", old(named(tensor()), listed=listed)
    yield "limit/a-magic-number-without-end", _endless_old()


def _endless_old() -> bytes:
    made = old(named(tensor()))
    protocol = made.index(b"\x80\x02", 2)
    return made[:protocol] + b"\x80\x02" + b"}" * 4_000_000 + b"." + made[protocol:]


def _modules() -> Iterator[tuple[str, bytes]]:
    def nested(innermost: bytes, depth: int) -> bytes:
        made = b"\x80\x02" + innermost
        for level in range(depth):
            again = b"j" + struct.pack("<I", 100_000 + level)
            put = b"r" + struct.pack("<I", 100_000 + level) + b"0"
            both = text("a") + again + text("b") + again
            made += put + b"c__torch__\nM\n)\x81}(" + both + b"ub"
        return made + b"."

    code = {"constants.pkl": b"\x80\x02).", "code/x.py": b""}
    leaf = b"c__torch__\nM\n)\x81}" + text("w") + tensor() + b"sb"
    yield "limit/modules-in-two-places-each", archive(nested(leaf, 40), code)
    wide = b"".join(text(f"{number:05}") + b"N" for number in range(50_000))
    yield "limit/modules-of-many-attributes", archive(nested(b"c__torch__\nM\n)\x81}(" + wide + b"ub", 40), code)
    long = b"".join(text(f"{number:0900}") + b"h\x01s" for number in range(2000))
    child = b"c__torch__\nM\n)\x81}" + text("w") + tensor() + b"sbq\x010"
    yield (
        "limit/modules-of-long-names",
        archive(nested(child + b"c__torch__\nM\n)\x81}" + long + b"b", 40), code),
    )


def _upscalers() -> Iterator[tuple[str, dict[str, Any]]]:
    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape)

    yield (
        "of-no-numbers",
        {"body.0.weight": zeros(10_000, 3, 0, 0), "body.1.weight": zeros(1), "body.4.bias": zeros(48)},
    )
    yield (
        "of-three-thousand-channels",
        {"body.0.weight": zeros(3000, 3, 1, 1), "body.1.weight": zeros(1), "body.20.bias": zeros(48)},
    )
    yield (
        "of-half-a-million-layers",
        {"body.0.weight": zeros(4, 3, 3, 3), "body.1.weight": zeros(4), "body.500000.bias": zeros(48)},
    )
    whole = _swinir()
    blocks = "layers.0.residual_group.blocks"
    index, mask = f"{blocks}.0.attn.relative_position_index", f"{blocks}.1.attn_mask"
    yield "of-a-window-of-no-numbers", whole | {index: zeros(1600, 0).long()}
    yield "of-a-window-of-forty", whole | {index: zeros(1600, 1).long()}
    yield "of-a-million-windows", whole | {mask: zeros(1_000_000, 1, 1)}
    yield "of-many-large-windows", whole | {index: zeros(1024, 1).long(), mask: zeros(1000, 1, 1)}
    many = {f"{blocks}.{number}.x": zeros(1) for number in range(3000)}
    yield "of-many-blocks", whole | many | {index: zeros(1024, 1).long()}


def _swinir() -> dict[str, torch.Tensor]:
    from generator.upscaler.model import swinir

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.meshgrid")
        sizes = {"embed_dim": 8, "depths": [2], "num_heads": [2], "mlp_ratio": 2.0, "img_size": 16}
        made: dict[str, torch.Tensor] = (
            swinir().SwinIR(**sizes, window_size=8, upscale=4, upsampler="pixelshuffledirect").state_dict()
        )
    return made
