"""python -m generator.training import FILE --name birds: a model from another studio, or a LoRA of whatever tool, into
the folder of the checkpoints.

Exit status: 0, 1 where the file cannot be kept, 2 for a file or a name that will not do.
"""

from __future__ import annotations

import re
import secrets
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from characters.brief import Parser
from generator.checkpoints.command_line import checkpoints_dir_option, path_of
from generator.checkpoints.errors import CheckpointDamaged
from generator.checkpoints.model_file import ModelFile, check_weights, look_at, place_of, suggested_name
from generator.params.learning import MODEL_NAME
from lasting import make_folder, put_in_place


def import_model(argv: Sequence[str]) -> int:
    """The exit status."""
    parser = Parser(prog="python -m generator.training import", description="Takes a model that was trained elsewhere.")
    parser.add_argument(
        "file", metavar="FILE", type=path_of, help=".safetensors: a model trained from captions here, or a LoRA"
    )
    parser.add_argument("--name", help="what it is drawn with under [the name of the file]")
    checkpoints_dir_option(parser)
    args = parser.parse_args(argv)
    name = suggested_name(args.file.name) if args.name is None else args.name
    try:
        if not re.fullmatch(MODEL_NAME, name):
            raise CheckpointDamaged(
                f"{name!r} is no name for a model: give --name with 1 to 64 letters, digits, _ and -, the first a "
                "letter or digit."
            )
        found = look_at(args.file)
        check_weights(args.file, found)
    except CheckpointDamaged as error:
        print(error, file=sys.stderr)
        return 2
    try:
        kept = _keep(args.file, found, name, args.checkpoints_dir)
    except OSError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, FileExistsError) else 1
    print(f"{kept} is the model. Draw with it: {_drawing(found, name)}")
    return 0


def _keep(file: Path, found: ModelFile, name: str, checkpoints: Path) -> Path:
    """A copy of the file where engines look for it, whole or not at all. Raises OSError."""
    place = place_of(found.kind, name, checkpoints)
    target = place if found.kind == "lora" else place / f"{name}.safetensors"
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")  # another command may be at it as well
    taken = FileExistsError(f"{found.kind}/{name} is there already; choose another --name.")
    if _is_model(place):
        raise taken
    try:
        make_folder(target.parent)
        shutil.copyfile(file, part)
        if _is_model(place):
            raise taken
        put_in_place(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        if found.kind != "lora" and place.is_dir() and not any(place.iterdir()):
            place.rmdir()
        if error is taken:
            raise
        raise OSError(f"{target} could not be written: {error.strerror or error}.") from None
    return target


def _is_model(place: Path) -> bool:
    """Not what a copy that was cut off has left."""
    return place.is_file() or any(place.rglob("*.safetensors"))


def _drawing(found: ModelFile, name: str) -> str:
    if found.kind == "lora":
        return (
            'python -m generator "a lighthouse" --engine latent-diffusion --checkpoint MODEL '
            f"--lora {name}:0.8, where MODEL is one it was made for"
        )
    captions = found.card.get("captions")
    prompt = str(captions[0]) if isinstance(captions, list) and captions else "a lighthouse"
    checkpoint = f"{found.kind}/{name}"
    return f"python -m generator {shlex.quote(prompt)} --engine latent-diffusion --checkpoint {checkpoint}"
