"""A run without queue: settings from flags, progress, history, curves, samples, and a state to go on from."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Literal

from tqdm import tqdm

from characters.brief import Parser
from generator.__main__ import add_flags
from generator.checkpoints.command_line import checkpoints_dir_option, path_of
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing, sentence
from generator.checkpoints.model_file import place_of
from generator.device import DeviceUnavailable, pick_device
from generator.learning.stream.samples import DataProblem
from generator.output.learning import History, Row, curves, read_history
from generator.output.tensorboard import Events, TensorBoardMissing, require_tensorboard
from generator.params import BadParams
from generator.params.learning import LearningParams
from generator.params.validation import validated

if TYPE_CHECKING:
    from generator.learning.runs import Run
    from generator.learning.stream.samples import CaptionStream

SECONDS = 2.0  # of a stretch
SAVED_EVERY = 60.0  # s of training, at least
OWN_FLAGS = ("data", "captions")


@dataclass(frozen=True)
class Kind:
    """What is trained: how its command is called, its settings, and how its run is made and its model kept.

    makes: as the names of its models begin. begin: from settings, stream, device, checkpoints folder and the team of
    processes. keep: writes the model into the checkpoints folder, and says how to draw with it.
    """

    prog: str
    about: str
    makes: Literal["caption-diffusion", "lora"]
    params: type[LearningParams]
    begin: Callable[[Any, CaptionStream, str, Path, Any], Run]
    keep: Callable[[Run, Any, Path], str]


class AlreadyThere(ValueError):
    """A run of this name was begun that cannot go on, or a model is called so; one sentence."""


def parser(kind: Kind) -> argparse.ArgumentParser:
    """The command line."""
    made = Parser(prog=kind.prog, description=kind.about, argument_default=argparse.SUPPRESS)
    made.add_argument("data", metavar="DATA", help="a folder, zip, parquet or tar file, or ws://... of a server")
    made.add_argument(
        "--caption", action="append", dest="captions", metavar="TEXT", help="drawn at every interval; can be repeated"
    )
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps [default auto]")
    made.add_argument(
        "--output-dir", type=path_of, default=Path("data/runs"), help="folder of the runs' folders [default data/runs]"
    )
    checkpoints_dir_option(made)
    add_flags(made, kind.params, OWN_FLAGS)
    return made


def run(argv: Sequence[str] | None, kind: Kind) -> int:
    """The exit status."""
    args = vars(parser(kind).parse_args(argv))
    device, output, checkpoints = (args.pop(name) for name in ("device", "output_dir", "checkpoints_dir"))
    try:
        folder, params = _settings(args, output, checkpoints, kind)
        from generator.training.team import team

        with team(None if "WORLD_SIZE" not in os.environ else pick_device(device)) as together:
            _train(params, folder, checkpoints, together.device or pick_device(device), together, kind)
        return 0
    except (BadParams, DataProblem, AlreadyThere, DeviceUnavailable, CheckpointMissing, TensorBoardMissing) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. The state is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    except (CheckpointDamaged, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def _settings(args: dict[str, Any], output: Path, checkpoints: Path, kind: Kind) -> tuple[Path, LearningParams]:
    """The run's folder, and its settings: those it was begun with where it was. Raises BadParams, AlreadyThere,
    TensorBoardMissing."""
    params = validated(kind.params, args)
    if params.tensorboard:
        require_tensorboard()
    folder = output / params.name
    begun = folder / "params.json"
    if begun.is_file():
        before = validated(kind.params, json.loads(begun.read_text()))
        if "seed" not in args:
            params = params.model_copy(update={"seed": before.seed})
        if params != before:
            now, then = params.model_dump(), before.model_dump()
            other = ", ".join(f"{name} {then[name]!r}, now {now[name]!r}" for name in now if now[name] != then[name])
            raise AlreadyThere(
                f"{folder} holds a run that was begun with {other}: give it the same settings again to go on, or "
                "choose another --name."
            )
    elif place_of(kind.makes, params.name, checkpoints).exists():
        raise AlreadyThere(f"{kind.makes}/{params.name} is there already; choose another --name.")
    return folder, params


def _train(params: LearningParams, folder: Path, checkpoints: Path, device: str, together: Any, kind: Kind) -> None:
    from generator.images.encode import write_whole
    from generator.learning.stream.opening import open_stream
    from lasting import make_folder

    where = params.data if params.is_address else Path(params.data)
    stream = open_stream(where, validation_share=params.validation_share)
    run = kind.begin(params, stream, device, checkpoints, together)
    try:
        if (state := folder / "state.pt").is_file():
            _go_on(run, state)
        make_folder(folder)
        write_whole(folder / "params.json", json.dumps(params.model_dump(mode="json"), indent=1).encode())
        with _ended_by_sigterm():
            _drive(run, params, folder, device, leads=together.rank == 0)
        if together.rank == 0:
            tqdm.write(kind.keep(run, params, checkpoints))
    finally:
        run.close()


def _go_on(run: Run, state: Path) -> None:
    """From a saved state. Raises AlreadyThere where it is damaged or of another recipe; DataProblem,
    CheckpointMissing."""
    import torch

    try:
        run.load_state_dict(torch.load(state, weights_only=True, map_location="cpu"))
    except (DataProblem, CheckpointMissing):
        raise
    except (ValueError, LookupError, EOFError, UnpicklingError) as error:
        raise AlreadyThere(
            f"{state} cannot be gone on from: {sentence(error)}. Choose another --name, or remove {state.parent} to "
            "begin anew."
        ) from None


def _drive(run: Run, params: LearningParams, folder: Path, device: str, *, leads: bool) -> None:
    """Trains to the end; of several processes the one that leads writes. What is done is kept, however it ends."""
    import time

    from generator.engines.train import measured
    from generator.training.run import sheet

    history = _history(folder / "history.csv", run.step)
    saved = time.monotonic()
    began = saved - (history.rows[-1].seconds if history.rows else 0.0)
    events = _events(params, folder, time.time() - (saved - began)) if leads else None
    bar: Any = tqdm(total=run.total_steps, initial=run.step, unit="step", disable=None if leads else True)
    try:
        while not run.done:
            progress = measured(run, run.advance(SECONDS), device)
            bar.update(progress.step - bar.n)
            bar.set_postfix({name: f"{loss:.4f}" for name, loss in progress.losses.items()})
            if not leads:
                continue
            seconds = round(time.monotonic() - began, 3)
            train, validation = progress.losses.get("train"), progress.losses.get("validation")
            pace, memory = progress.steps_per_s, progress.memory
            row = Row(progress.step, seconds, train, validation, pace, memory, progress.learning_rate)
            if progress.losses:
                history.add(row)
            drawn = folder / "samples" / f"{progress.step:07}.png"
            if progress.samples is not None:
                drawn.parent.mkdir(exist_ok=True)
                sheet([progress.samples], drawn, upscale=1)
            if events is not None:
                events.add(row)
                if progress.samples is not None:
                    events.add_samples(progress.step, row.seconds, drawn.read_bytes())
                events.flush()
            if progress.samples is not None or time.monotonic() - saved > SAVED_EVERY:
                _save(run, history, folder)
                saved = time.monotonic()
    finally:
        bar.close()
        if events is not None:
            events.close()
        if leads:
            _save(run, history, folder)


def _history(path: Path, step: int) -> History:
    """What was measured up to a step; what is there beyond it is made again."""
    history = History()
    if path.is_file():
        with suppress(ValueError):  # of an older version
            history.rows = [row for row in read_history(path.read_bytes()).rows if row.step <= step]
    return history


def _events(params: LearningParams, folder: Path, began: float) -> Events | None:
    """A file of its own for each stretch between two stops, as TensorBoard reads them one after the other."""
    import time

    if not params.tensorboard:
        return None
    return Events(folder / f"events.out.tfevents.{time.time():.0f}.{params.name}", began)


def _save(run: Run, history: History, folder: Path) -> None:
    """State, history and curves, each whole, then renamed into place: a full disk leaves those before."""
    import torch

    from generator.images.encode import write_whole
    from lasting import put_in_place

    part = folder / "state.pt.part"
    try:
        torch.save(run.state_dict(), part)
        put_in_place(part, folder / "state.pt")
    finally:
        part.unlink(missing_ok=True)
    write_whole(folder / "history.csv", history.csv())
    write_whole(folder / "curves.png", curves(history))


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
