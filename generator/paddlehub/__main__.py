"""python -m generator.paddlehub run stable_diffusion --text_prompts "a red heart" --output_dir out

The options are PaddleHub's of `hub run NAME`; booleans are read as such (true, false). Exit status: 0, 1 when the run
failed, 2 for bad input.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from characters.brief import Parser
from generator.checkpoints.command_line import checkpoints_dir_option
from generator.checkpoints.errors import CheckpointMissing
from generator.device import DeviceUnavailable
from generator.images.decode import BadImage
from generator.paddlehub.module import Module
from generator.paddlehub.modules import MODULES, ModuleSpec
from generator.params import BadParams
from generator.registry import UnknownName, lookup

_LISTS = ("text_prompts", "width_height", "cut_ic_pow", "cut_overview", "cut_innercut", "cut_icgray_p")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = Parser(prog="python -m generator.paddlehub", description="PaddleHub's modules, drawn here.")
    run = made.add_subparsers(dest="command", required=True).add_parser("run", help="draw pictures")
    names = run.add_subparsers(dest="module", required=True, metavar="|".join(MODULES))
    for spec in MODULES.values():
        _add(names.add_parser(spec.name, argument_default=argparse.SUPPRESS, help=f"by {spec.engine}"), spec)
    return made


def _add(parser: argparse.ArgumentParser, spec: ModuleSpec) -> None:
    """One option for each argument of the module."""
    for name, field in spec.arguments.model_fields.items():
        default = spec.arguments.cli_defaults.get(name, field.default)
        shown = "" if field.is_required() else f" [default {default}]"
        text = f"{field.description}{shown}".replace("%", "%%")
        parser.add_argument(f"--{name}", required=field.is_required(), metavar="VALUE", help=text)
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps [default auto]")
    checkpoints_dir_option(parser)


def values_of(spec: ModuleSpec, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments out of their texts, with the defaults of PaddleHub's command line where they differ.

    Numbers and booleans are read by the declaration; `[1280,768]` and `["a cat", "a dog"]` are lists. Nothing is run.
    """
    texts = {name: text for name, text in given.items() if name in spec.arguments.model_fields}
    return {**spec.arguments.cli_defaults, **{name: _value(name, text) for name, text in texts.items()}}


def _value(name: str, text: str) -> Any:
    if text == "None":
        return None
    if name in _LISTS and text.startswith("["):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text  # a schedule such as [12]*400+[4]*600, or a prompt that begins so
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Draw; the exit status."""
    given = vars(parser().parse_args(sys.argv[1:] if argv is None else argv))
    spec = lookup("module", MODULES, given["module"])
    folder: Path = given["checkpoints_dir"]
    try:
        module = Module(spec.name, device=given.get("device", "auto"), checkpoints_dir=folder)
        values = values_of(spec, given)
        found = module.generate_image(**values)
    except (BadParams, UnknownName, BadImage, DeviceUnavailable, CheckpointMissing) as error:
        print(error, file=sys.stderr)
        return 2
    except Exception as error:  # of the run: no memory, a prompt that is too long, a full disk
        print(" ".join(str(error).split())[:400] or type(error).__name__, file=sys.stderr)
        return 1
    for number, one in enumerate(found):
        print(f"{number}: {len(one.chunks)} chunks, {one.tags.get('prompt') or one.tags['text_prompts'][0]}")
    print(f"Files are in {values.get('output_dir') or spec.arguments.model_fields['output_dir'].default}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
