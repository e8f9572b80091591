"""What the command lines of the generator have in common: the folder of the checkpoints, and what is in it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from generator.checkpoints.inventory import inventory, misplaced, own_clips, own_loras, own_upscalers
from generator.checkpoints.own import own_folders
from generator.registry import OWN, own_kind

DEFAULT_DIR = "data/checkpoints"
MAX_NAME_BYTES, MAX_PATH_LENGTH = 255, 4000


def checkpoints_dir() -> Path:
    """Where downloaded weights are unless told: T2I_CHECKPOINTS_DIR or data/checkpoints."""
    return Path(os.environ.get("T2I_CHECKPOINTS_DIR", DEFAULT_DIR))


def checkpoints_dir_option(parser: argparse.ArgumentParser) -> None:
    """Adds --checkpoints-dir, whose default is T2I_CHECKPOINTS_DIR or data/checkpoints."""
    default = checkpoints_dir()
    parser.add_argument(
        "--checkpoints-dir", type=path_of, default=default, help=f"folder of the downloaded weights [{default}]"
    )


def path_of(text: str) -> Path:
    """A file or folder as it is typed behind a flag. Raises ArgumentTypeError for what can be the name of none."""
    try:
        # A name has 255 bytes at most on the disks there are, and is asked for as bytes.
        fits = all(len(os.fsencode(part)) <= MAX_NAME_BYTES for part in Path(text).parts)
    except UnicodeEncodeError:
        fits = False
    if not fits or "\x00" in text or len(text) > MAX_PATH_LENGTH:
        raise argparse.ArgumentTypeError(f"{text[:60]!r} can be the name of no file or folder.")
    return Path(text)


def listing(directory: Path) -> str:
    """One line per checkpoint: name, engines or clip, size, memory of a default job, state, licence."""
    lines = []
    for item in inventory(directory):
        what = "clip" if item.kind == "clip" else ",".join(item.engines)
        size = f"{item.download_bytes / 1e6:.0f} MB" if item.download_bytes else ""
        memory = f"{item.memory_bytes / 1e9:.1f} GB" if item.memory_bytes > 1e8 else f"{item.memory_bytes / 1e6:.0f} MB"
        state = "" if item.state == "embedded" else item.licence
        lines.append(f"{item.name:<24} {what:<18} {size:>8} {memory:>8}  {item.state:<13}  {state}".rstrip())
    lines += [f"{name:<24} {'upscale':<18} {'':>8} {'':>8}  your own file" for name in own_upscalers(directory)]
    for name in own_folders(directory):
        what = "your own folder" if (directory / name).is_dir() else "your own file"
        lines.append(f"{name:<24} {OWN[own_kind(name) or ''].engine:<18} {'':>8} {'':>8}  {what}")
    lines += [f"{name:<24} {'clip':<18} {'':>8} {'':>8}  your own file" for name in own_clips(directory)]
    for name in own_loras(directory):
        lines.append(f"{f'lora/{name}':<24} {'latent-diffusion':<18} {'':>8} {'':>8}  your own LoRA")
    lines += [f"{name}: {why}" for name, why in misplaced(directory).items()]
    head = f"{'name':<24} {'for':<18} {'size':>8} {'memory':>8}  {'state':<13}  licence"
    return "\n".join([head, *lines])
