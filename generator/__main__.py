"""python -m generator "a red heart" --output-dir out --seed 1: one picture, without queue or browser.

The flags are those of the engine's parameters (generator.params). Exit status: 0, 1 when the run failed, 2 for bad
input, 130 after Ctrl-C, the last good picture being saved.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args, get_origin

from pydantic.fields import FieldInfo
from tqdm import tqdm

from characters.brief import Parser, in_brief
from generator import params, registry
from generator.checkpoints.command_line import checkpoints_dir_option, listing, path_of
from generator.checkpoints.download import FolderProblem
from generator.checkpoints.errors import CheckpointMissing
from generator.checkpoints.fingerprint import own_weights
from generator.checkpoints.store import upscaler_file
from generator.device import DeviceUnavailable, Host, pick_device
from generator.engines import loading
from generator.images.decode import BadImage
from generator.output import metadata
from generator.output.files import name_of, store
from generator.output.film import Recorder
from generator.output.licence import checked
from generator.output.metadata import NoMetadata
from generator.output.sources import Given, SourceChanged, Sources, check_there, check_unchanged, untold
from generator.params import BadParams, JobParams, Params, drawing_class
from generator.prompts import PromptError, with_files
from generator.registry import UnknownName
from generator.tokens import PromptTooLong
from generator.version import NAME, VERSION
from generator.wording import understand
from generator.wording.command_line import sources, wildcards_dir_option

if TYPE_CHECKING:
    from generator.engines.base import Step

OWN_FLAGS = ("width", "height", "wording")  # set by --size, and by what is understood of the prompt
# What a picture's files end in, by their kinds.
ENDS = {"png": ".png", "gif": ".gif", "mp4": ".mp4", "webp": ".webp", "sheet": "-sheet.webp"}
_REFUSED = (BadParams, UnknownName, NoMetadata, BadImage, SourceChanged)


class _Parser(Parser):
    def error(self, message: str) -> NoReturn:
        message = in_brief(message)
        self.exit(2, f"{message[:1].upper()}{message[1:].rstrip('.')}. See python -m generator --help\n")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})(?:[xX×](\d{1,5}))?", text.strip())
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no size. Write WIDTHxHEIGHT or one number, for example 64x64")
    return int(match[1]), int(match[2] or match[1])


def _licence(text: str) -> str:
    try:
        return checked(text) if text.strip() else ""
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is none: {error}") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _bounds(field: FieldInfo) -> str:
    words = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}
    found = [(word, getattr(limit, word)) for limit in field.metadata for word in words if hasattr(limit, word)]
    return " ".join(words[word].format(value) for word, value in found)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number.strip())


def add_flags(parser: argparse.ArgumentParser, cls: type[JobParams], left_out: Collection[str]) -> None:
    """One flag per parameter that is not left out, with the help, unit, bounds and default of its declaration."""
    groups: dict[str, Any] = {}
    for name, field in cls.model_fields.items():
        if name in left_out:
            continue
        extra: Any = field.json_schema_extra or {}
        group = groups.setdefault(extra["group"], parser.add_argument_group(extra["group"]))
        default = "drawn and printed" if name == "seed" else field.default
        if isinstance(default, tuple):
            default = ",".join(map(str, default))
        notes = [part for part in (_bounds(field), extra["unit"]) if part]
        if field.is_required():
            notes.append("must be given")
        else:
            notes.append(f"default {default}" if default not in (None, "") else "default none")
        text = f"{field.description} [{'; '.join(notes)}]".replace("%", "%%")
        flag, kind = f"--{name.replace('_', '-')}", field.annotation
        if kind is bool:
            group.add_argument(flag, dest=name, action=argparse.BooleanOptionalAction, help=text)
        elif name == "lora":
            text += " May be given several times."
            group.add_argument(flag, dest=name, action="append", metavar="NAME:WEIGHT", help=text)
        elif kind == tuple[int, ...]:
            group.add_argument(flag, dest=name, type=_numbers, metavar="N[,N]", help=text)
        elif get_origin(kind) is tuple:
            group.add_argument(flag, dest=name, type=_names, metavar="NAME[,NAME]", help=text)
        elif kind is int or kind is float:
            group.add_argument(flag, dest=name, type=kind, metavar="N", help=text)
        else:
            choices = [c for c in get_args(kind) if isinstance(c, str | int)]
            metavar = "|".join(map(str, choices)) if choices else "TEXT"
            whole = bool(choices) and all(isinstance(c, int) for c in choices)
            group.add_argument(flag, dest=name, type=int if whole else str, metavar=metavar, help=text)


def parser_for(engine: str) -> argparse.ArgumentParser:
    """The command line of one engine. Raises UnknownName."""
    parser = _Parser(
        prog="python -m generator",
        description="Turns a prompt into a picture, and the way there into a GIF.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("prompt", nargs="?", help=params.Params.model_fields["prompt"].description)
    parser.add_argument(
        "--engine", default=engine, help=f"one of: {', '.join(registry.drawing_engines())} [default {engine}]"
    )
    parser.add_argument(
        "--size", type=_size, metavar="WxH|N", help="width x height in px, floored to the model's factor [default 64]"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps [default auto]")
    parser.add_argument("--output-dir", type=path_of, default=Path("out"), help="folder of the files [default out]")
    parser.add_argument("--from-png", type=path_of, metavar="FILE", help="repeat a picture; other flags change it")
    parser.add_argument("--mp4", action="store_true", default=False, help="also write an MP4")
    parser.add_argument("--webp", action="store_true", default=False, help="also write an animated WebP")
    parser.add_argument("--frames", action="store_true", default=False, help="keep every frame as a PNG")
    parser.add_argument("--list", action="store_true", default=False, help="show engines, checkpoints, CLIPs, styles")
    parser.add_argument("--version", action="version", version=f"{NAME} {VERSION}", help="print the version and end")
    licence = "what the picture is under, written into it: CC BY 4.0, or an address [default none]"
    parser.add_argument("--licence", type=_licence, default="", metavar="TEXT", help=licence)
    checkpoints_dir_option(parser)
    wildcards_dir_option(parser)
    add_flags(parser, drawing_class(engine), ("prompt", *OWN_FLAGS))
    return parser


def show_list(directory: Path) -> str:
    """What --list prints."""
    drawing = [(name, registry.ENGINES[name]) for name in registry.drawing_engines()]
    engines = "\n".join(f"{name:<20} {spec.title}: {spec.summary}" for name, spec in drawing)
    styles = "\n".join(f"{name:<20} {title}" for name, title in registry.STYLES.items())
    return "\n".join(
        [
            "Engines (--engine)",
            engines,
            "",
            f"Checkpoints (--checkpoint: vqgan; --clip: clip) in {directory}",
            listing(directory),
            "",
            "Styles of the mini checkpoint (--style)",
            styles,
            "",
            "Get a checkpoint with: python -m generator.checkpoints download NAME",
        ]
    )


def _wanted(given: dict[str, Any]) -> tuple[str, Params]:
    """Engine and parameters: those of --from-png if there is one, changed by the flags given."""
    engine, base = given["engine"], {}
    if "from_png" in given:
        try:
            data = given["from_png"].read_bytes()
        except OSError as error:
            raise NoMetadata(f"Cannot read {given['from_png']}: {error.strerror}.") from None
        engine, repeated = metadata.read_metadata(data)
        base = repeated.model_dump()
    fields = drawing_class(engine).model_fields
    changes = {name: given[name] for name in fields if name in given}
    if "size" in given:
        changes["width"], changes["height"] = given["size"]
    if changes.get("image_prompts"):
        try:
            changes["image_prompts"] = with_files(changes["image_prompts"])
        except PromptError as error:
            raise BadParams(f"image_prompts {error}") from None
    if not base and "prompt" not in changes:
        raise BadParams('The prompt is missing. Write what you want to see: python -m generator "a red heart"')
    read = understand(engine, {**base, **changes}, sources(given["wildcards_dir"]), repeats=base)
    for notice in read.notices:
        print(notice, file=sys.stderr)
    return engine, params.validate(engine, read.values)


def _made_from(given: dict[str, Any], wanted: Params) -> tuple[Given, Sources]:
    """The pictures to draw from, each read once, and the hashes of all that goes in. Raises BadImage, SourceChanged."""
    if "from_png" not in given:
        pictures = Given(wanted.sources)
        return pictures, Sources(pictures.hashes, own_weights(wanted, given["checkpoints_dir"]))
    check_there(wanted, given, _flag, lambda path: Path(path).is_file())
    pictures = Given(wanted.sources)
    found = Sources(pictures.hashes, own_weights(wanted, given["checkpoints_dir"]))
    recorded = metadata.read_sources(given["from_png"].read_bytes())
    check_unchanged(recorded, found, wanted, given, _flag)
    if unknown := untold(recorded, found, wanted, given):
        print(f"{given['from_png']} does not say what {unknown} held when it was made.", file=sys.stderr)
    return pictures, found


def _flag(setting: str) -> str:
    return f"--{setting.replace('_', '-')} "


def main(argv: Sequence[str] | None = None) -> int:
    """One picture from the command line; the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--engine", default=next(iter(registry.ENGINES)))
    try:
        given = vars(parser_for(first.parse_known_args(argv)[0].engine).parse_args(argv))
    except UnknownName as error:
        print(error, file=sys.stderr)
        return 2
    except SystemExit as stopped:  # --help, or a flag that cannot be read
        return int(stopped.code or 0)
    if given["list"]:
        print(show_list(given["checkpoints_dir"]))
        return 0
    try:
        engine, wanted = _wanted(given)
        if wanted.upscale > 1:  # said before the picture is drawn, not after
            upscaler_file(wanted.upscaler, given["checkpoints_dir"])
        device = pick_device(given["device"])
        pictures, made_from = _made_from(given, wanted)
        name = name_of(engine, wanted, made_from)
        work = given["output_dir"] / f"{name}.part"
        try:
            shutil.rmtree(work, ignore_errors=True)
            recorder = Recorder(work, wanted, engine, sources=made_from, licence=given["licence"])
        except OSError as error:
            raise FolderProblem(f"Cannot write to {given['output_dir']}: {error.strerror}.") from None
    except (*_REFUSED, DeviceUnavailable, FolderProblem, CheckpointMissing) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        return _draw(given, engine, wanted, Drawing(device, recorder, pictures), given["output_dir"] / name)
    finally:
        recorder.discard()


@dataclass(frozen=True)
class Drawing:
    """Where a picture is drawn, where its frames go, and the pictures it is drawn from."""

    device: str
    recorder: Recorder
    pictures: Given


def _draw(given: dict[str, Any], engine: str, wanted: Params, drawing: Drawing, target: Path) -> int:
    device, recorder = drawing.device, drawing.recorder
    width, height = wanted.actual_size
    asked = wanted.width, wanted.height
    floored = "" if asked == (width, height) else f" (floored from {asked[0]} x {asked[1]})"
    print(f"Seed {wanted.seed}, {width} x {height} px{floored}, {wanted.checkpoint} on {device}.")
    try:
        last = _steps(given, engine, wanted, drawing)
        from generator.upscaler.model import as_asked

        where = {"device": device, "checkpoints_dir": given["checkpoints_dir"]}
        final = as_asked(recorder.last(), wanted, _refused, read_image=drawing.pictures, **where)
        made = recorder.finish(last.score, final, draft=last.draft, mp4=given["mp4"], webp=given["webp"])
        files = {end: made[kind] for kind, end in ENDS.items() if kind in made}
        if given["frames"]:
            files |= {f"-frames/{name}": data for name, data in recorder.frames().items()}
        stored = store(target, files)
        if stored != target:
            print(f"{target}.png is of another result, and stays as it is.")
        shown = "{} x {} px".format(*(final.size if final else wanted.actual_size))
        print(f"{stored}.png, {shown}, score {last.score:.3f}")
        return 0
    except KeyboardInterrupt:
        return _keep_last(recorder, engine, wanted, target, "Stopped.", 130)
    except (BadImage, UnknownName, BadParams) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"Cannot write to {target.parent}: {error.strerror}.", file=sys.stderr)
        return 1
    except Exception as error:
        import torch

        if isinstance(error, CheckpointMissing | PromptTooLong):
            print(f"{str(error)[0].upper()}{str(error)[1:]}", file=sys.stderr)
            return 2
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            fewer = {"cutn": "fewer --cutn", "candidates": "fewer --candidates"}
            fewer |= {"memory": "--memory low"} if "memory" in wanted.memory_advice else {}
            fewer["checkpoint_activations"] = "--checkpoint-activations"
            ways = [text for name, text in fewer.items() if name in type(wanted).model_fields]
            text = f"There is not enough memory. Choose a smaller --size or {' or '.join(ways)}."
        else:
            text = " ".join(str(error).split())[:400] or type(error).__name__
        return _keep_last(recorder, engine, wanted, target, text, 1)


def _steps(given: dict[str, Any], name: str, wanted: Any, drawing: Drawing) -> Step:
    """Runs the engine, each frame to disk; the last step."""
    from generator.engines.base import generate

    host = Host(drawing.device, given["checkpoints_dir"], drawing.pictures)
    engine, recorder = loading.load(name, wanted.checkpoint, wanted.clip, host), drawing.recorder
    print(f"Preview: {recorder.last_path}")
    with tqdm(total=wanted.total_steps, unit="step", disable=None) as bar:
        for step in generate(engine, wanted):
            if step.image is not None:
                recorder.add(step.index, step.image)
            bar.set_postfix(score=f"{step.score:.3f}", refresh=False)
            bar.update(step.index - bar.n)
    return step


def _refused(why: Exception) -> None:
    print(f"The picture is not upscaled: {why}", file=sys.stderr)


def _keep_last(recorder: Recorder, engine: str, wanted: Params, target: Path, text: str, status: int) -> int:
    """Says what happened and saves the last good picture, if there is one."""
    picture = recorder.last()
    if picture is not None:
        png = metadata.encode_png(picture, engine, wanted, sources=recorder.sources, licence=recorder.licence)
        try:
            kept = store(target.with_name(f"{target.name}-unfinished"), {".png": png})
            text = f"{text} The last picture is in {kept}.png"
        except OSError as error:
            text = f"{text} The last picture could not be saved: {error.strerror}."
    print(text, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
