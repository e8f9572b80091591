"""python -m generator.upscaler IN.png [OUT.png]: one picture, upscaled, its settings kept.

Exit status: 0, 1 when it failed, 2 for bad input, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from characters.brief import Parser
from generator.checkpoints.command_line import checkpoints_dir_option, path_of
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.device import DeviceUnavailable, pick_device
from generator.images import decode, encode
from generator.images.convert import to_tensor
from generator.images.decode import BadImage
from generator.images.formats import NAMES
from generator.output.files import store
from generator.output.inherited import with_settings
from generator.tiling import GRID, TILE, TILES
from generator.upscaler.model import (
    ALIASES,
    PictureTooLarge,
    Progress,
    UnsupportedUpscaler,
    UpscalerMissing,
    load_upscaler,
    upscaler_row,
)


def _tile(text: str) -> int:
    least, most = TILES
    if not text.isdecimal() or not least <= int(text) <= most or int(text) % GRID:
        raise argparse.ArgumentTypeError(f"{text!r} is no tile. Write a multiple of {GRID} from {least} to {most} px")
    return int(text)


def parser() -> argparse.ArgumentParser:
    made = Parser(prog="python -m generator.upscaler", description="Upscales a picture four times.")
    made.add_argument("picture", type=path_of, metavar="IN", help=f"a picture: {NAMES}")
    made.add_argument("result", type=path_of, nargs="?", metavar="OUT", help="the PNG to write [default IN-x4.png]")
    made.add_argument(
        "--model",
        default=next(iter(ALIASES)),
        metavar="NAME|FILE",
        help="mini (embedded), swinir-l, or weights spandrel knows [mini]",
    )
    made.add_argument("--tile", type=_tile, default=TILE, metavar="N", help=f"px a side; less: less memory [{TILE}]")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps [default auto]")
    checkpoints_dir_option(made)
    return made


def _write(target: Path, png: bytes, *, chosen: bool) -> tuple[Path, bool]:
    """Where it went, and whether another picture was there. Under a name that nobody chose nothing is replaced."""
    if chosen:
        replaced = target.exists() and target.read_bytes() != png
        encode.write_whole(target, png)
        return target, replaced
    stored = store(target.parent / target.stem, {".png": png})
    return stored.parent / f"{stored.name}.png", False


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status; what went wrong is one line on stderr."""
    args = parser().parse_args(argv)
    target = args.result or args.picture.with_name(f"{args.picture.stem}-x4.png")
    if target.suffix.lower() != ".png":
        print(f"Cannot write {target}: the result is a PNG, so its name must end in .png.", file=sys.stderr)
        return 2
    try:
        source = args.picture.read_bytes()
        small = decode.decode_image(source)
        device = pick_device(args.device)
        upscaler = load_upscaler(args.model, device, args.checkpoints_dir)
    except OSError as error:  # UpscalerMissing is one too
        said = error if isinstance(error, UpscalerMissing) else f"Cannot read {args.picture}: {error.strerror}."
        print(said, file=sys.stderr)
        return 2
    except (BadImage, DeviceUnavailable, UnsupportedUpscaler, CheckpointMissing, CheckpointDamaged) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        progress = Progress(0, 0, None)
        with tqdm(unit="tile", disable=None) as bar:
            for progress in upscaler.steps(to_tensor(small)[None].to(device), args.tile):
                bar.total = progress.total
                bar.update(progress.done - bar.n)
        large = progress.image
        assert large is not None
        row = upscaler_row(args.model)
        png = with_settings(large, source, row is not None and row.embedded)
        target, replaced = _write(target, png, chosen=args.result is not None)
    except PictureTooLarge as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"Cannot write {target}: {error.strerror}.", file=sys.stderr)
        return 1
    except (torch.OutOfMemoryError, MemoryError):
        print("There is not enough memory. Choose a smaller --tile.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    print(f"{target}, {large.width} x {large.height} px{', in place of what it was' if replaced else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
