"""A recipe's flags, read off its dataclass: every default is stated there and nowhere else."""

from __future__ import annotations

import argparse
from dataclasses import Field, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from characters.brief import Parser
from generator.training.run import WEIGHTS, Budget

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where a recipe reads and writes: the `data` that `generator.training.data` made, the checkpoint, log and sheets
    of the `run`, and the `output` that weights are exported to."""

    data: Path
    run: Path
    output: Path

    @property
    def shared(self) -> Path:
        """What recipes leave for each other: the text encoder, the patch coder, codes, examples."""
        return self.data / "runs"


def flag(about: str, *, kind: type | None = None, choices: tuple[str, ...] = ()) -> dict[str, Any]:
    """The metadata of a field that the command line may set; `kind` is the type of one whose default is None."""
    return {"about": about, "kind": kind, "choices": choices or None}


def command_line(
    about: str | None, recipe: R, *, gpu: R | None = None, own_folder: bool = False, exports: bool = True
) -> tuple[R, Folders]:
    """The recipe as the command line changes it, and its folders.

    A field with the metadata of `flag` is a flag of its name. A Budget is one in minutes: `budget` is --minutes (or
    --steps), `text_budget` --text-minutes. With a recipe for a `gpu` there is --scale; `own_folder` adds --folder, and
    `exports` --output.
    """
    parser = Parser(description=about, argument_default=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, default=Path("data/training"))
    if gpu is not None:
        parser.add_argument("--scale", choices=("cpu", "gpu"), default="cpu", help="gpu: what a GPU has room for")
    if own_folder:
        parser.add_argument("--folder", type=Path, help="where the run is kept; default: runs in the data folder")
    if exports:
        parser.add_argument("--output", type=Path, default=WEIGHTS, help="folder for the .safetensors and .json")
    for each in fields(recipe):
        _add(parser, each)
    given = vars(parser.parse_args())
    if "steps_instead" in given:
        given["budget"] = given.pop("steps_instead")
    data, output = given.pop("data"), given.pop("output", WEIGHTS)
    folders = Folders(data=data, run=given.pop("folder", data / "runs"), output=output)
    return replace(gpu if given.pop("scale", "cpu") == "gpu" and gpu is not None else recipe, **given), folders


def _add(parser: argparse.ArgumentParser, each: Field[Any]) -> None:
    """Add the flag of one field, if it is one."""
    name = "--" + each.name.replace("budget", "minutes").replace("_", "-")
    if isinstance(each.default, Budget):
        clock = f"{each.metadata.get('about', 'of wall clock')} (default: {each.default.minutes:g})"
        parser.add_argument(name, dest=each.name, metavar="MINUTES", type=minutes, help=clock)
        if each.name == "budget":
            about = "of training, instead of minutes"
            parser.add_argument("--steps", dest="steps_instead", metavar="STEPS", type=steps, help=about)
    elif "about" in each.metadata:
        about, kind, choices = (each.metadata[key] for key in ("about", "kind", "choices"))
        default = "" if each.default is None else f" (default: {each.default})"
        parser.add_argument(name, type=kind or type(each.default), choices=choices, help=f"{about}{default}")


def minutes(text: str) -> Budget:
    """What --minutes gives; argparse names a value it cannot read by this name."""
    return Budget(minutes=float(text))


def steps(text: str) -> Budget:
    """What --steps gives."""
    return Budget(steps=int(text))
