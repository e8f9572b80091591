"""The words of the studio's client without a server: pictures from Python, in this process.

    picture = generate("a red heart", seed=1)
    picture.save("heart.png")

The file is the one that `python -m generator` writes for the same settings, to the last byte. Models stay loaded.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image

from generator import registry
from generator.checkpoints.command_line import checkpoints_dir
from generator.checkpoints.fingerprint import own_weights
from generator.checkpoints.store import upscaler_file
from generator.device import Host, pick_device
from generator.engines import loading
from generator.images.decode import BadImage, as_decoded
from generator.images.encode import encode, to_image
from generator.output.film import Recorder
from generator.output.inherited import with_settings
from generator.output.metadata import read_metadata, read_sources
from generator.output.sources import Given, Sources, check_there, check_unchanged, read_file
from generator.params import BadParams, JobParams, Params, validate, validate_job
from generator.params.vary import COUNT, SKIP_RATE, kept, varied
from generator.prompts import PromptError, quoted, with_files
from generator.wording import as_ranked, understand
from generator.wording.command_line import sources

if TYPE_CHECKING:
    from generator.engines.base import Engine, Step

T = TypeVar("T")
KEEP = 4  # engines in memory, as executors do
MAX_GIVEN = 256
FILM = ".gif"

_given: OrderedDict[str, bytes] = OrderedDict()  # pictures that came as such: params name what they start from
_lock = threading.Lock()  # one step at a time, whoever draws
_drawn_from: list[Callable[[str], Image.Image]] = []  # what reads the pictures of the step that is made now


@dataclass(frozen=True)
class Machine:
    """Where to draw. device: as `python -m generator --device`; checkpoints: folder of downloaded ones, else as its
    --checkpoints-dir; wildcards: folder of word lists, else as its --wildcards-dir."""

    device: str = "auto"
    checkpoints: Path | None = None
    wildcards: Path | None = None

    @property
    def folder(self) -> Path:
        """Of the downloaded checkpoints."""
        return self.checkpoints or checkpoints_dir()


HERE = Machine()


@dataclass(frozen=True)
class Picture:
    """A finished picture. png: its file, with its settings; film: how it formed, a GIF; score: of CLIP, None where
    there was nothing to score."""

    engine: str
    params: Params
    score: float | None
    png: bytes = field(repr=False)
    film: bytes = field(repr=False)
    machine: Machine = field(default=HERE, repr=False)

    @property
    def image(self) -> Image.Image:
        """The picture, upscaled as asked, its settings in `.info`."""
        return Image.open(BytesIO(self.png))

    @property
    def seed(self) -> int:
        """What makes the same picture again."""
        return self.params.seed

    def save(self, path: str | Path) -> Path:
        """The picture as a file: .png with its settings, other kinds without; .gif is its film."""
        path = Path(path)
        if path.suffix.lower() in (".png", FILM):
            path.write_bytes(self.film if path.suffix.lower() == FILM else self.png)
        else:
            self.image.convert("RGB").save(path)
        return path

    def vary(self, count: int = COUNT, skip_rate: float = SKIP_RATE, engine: str | None = None) -> list[Picture]:
        """Variations of it. skip_rate: 0 to 1, greater keeps more of it. Raises UnknownName, BadParams."""
        name = engine or self.engine
        values = varied(name, kept(self.engine, self.params.model_dump(), name), _reference(self), skip_rate)
        values.pop("seed", None)
        if name != self.engine:
            values = understand(name, values, sources(self.machine.wildcards)).values
        return [_finished(_watch(name, validate(name, values), self.machine)) for _ in range(count)]

    def upscale(self, checkpoint: str = registry.ENGINES["upscale"].checkpoints[0]) -> Picture:
        """The same, larger. Raises UnknownName, BadParams where it is too large already, CheckpointMissing."""
        width, height = self.image.size
        named = {"picture": _reference(self), "width": width, "height": height, "checkpoint": checkpoint}
        *_, last = _steps("upscale", validate_job("upscale", named), self.machine)
        assert last.image is not None
        png = with_settings(
            to_image(last.image), self.png, (row := registry.CHECKPOINTS.get(checkpoint)) is not None and row.embedded
        )
        return replace(self, png=png, params=read_metadata(png)[1])


@dataclass(frozen=True)
class Progress:
    """How far a picture is. preview: as it is now; picture: the finished one, with the last step."""

    step: int
    total: int
    score: float | None
    preview: Image.Image | None = None
    picture: Picture | None = None


def generate(
    prompt: str,
    engine: str | None = None,
    on_step: Callable[[Progress], object] | None = None,
    *,
    machine: Machine = HERE,
    **settings: Any,
) -> Picture:
    """A picture of the prompt. on_step: called after every step. Settings, pictures among them, and what it raises: as
    `watch`."""
    return _finished(watch(prompt, engine, machine=machine, **settings), on_step)


def again(
    picture: str | Path | bytes | Picture,
    on_step: Callable[[Progress], object] | None = None,
    *,
    machine: Machine = HERE,
    **changes: Any,
) -> Picture:
    """A picture drawn again from its PNG, a path or its bytes, with what is changed.

    Raises NoMetadata where the PNG has no settings, SourceChanged where what it was made from is gone or is another
    thing now and is not among the changes; and as `watch`.
    """
    data = picture.png if isinstance(picture, Picture) else picture
    data = data if isinstance(data, bytes) else Path(data).read_bytes()
    engine, drawn = read_metadata(data)
    params = _understood(engine, drawn.model_dump(), changes, machine)
    check_there(params, changes, _keyword, lambda reference: reference in _given or Path(reference).is_file())
    check_unchanged(read_sources(data), _made_from(params, machine)[1], params, changes, _keyword)
    return _finished(_watch(engine, params, machine), on_step)


def _finished(steps: Iterator[Progress], on_step: Callable[[Progress], object] | None = None) -> Picture:
    for progress in steps:
        if on_step is not None:
            on_step(progress)
    assert progress.picture is not None
    return progress.picture


def watch(prompt: str, engine: str | None = None, *, machine: Machine = HERE, **settings: Any) -> Iterator[Progress]:
    """Progress after every step; the last has the picture.

    engine: the first one of `python -m generator --list` unless told. settings: as its flags, with underscores;
    init_image, mask_image and image_prompts take paths, Pillow images, bytes of files and Pictures. Raises BadParams,
    UnknownName, BadImage, CheckpointMissing, DeviceUnavailable; warns where the prompt is not read as one might think,
    and where the picture could not be upscaled.
    """
    engine = engine or registry.drawing_engines()[0]
    yield from _watch(engine, _understood(engine, {}, {"prompt": prompt, **settings}, machine), machine)


def _understood(engine: str, before: dict[str, Any], settings: dict[str, Any], machine: Machine) -> Params:
    """The settings as they were written, over those of a finished picture."""
    try:
        values = before | {name: _named(name, value) for name, value in settings.items()}
    except PromptError as error:
        raise BadParams(f"image_prompts {error}") from None
    read = understand(engine, values, sources(machine.wildcards), repeats=before)
    for notice in read.notices:
        warnings.warn(str(notice), UserWarning, stacklevel=4)
    return validate(engine, read.values)


def _watch(engine: str, params: Params, machine: Machine) -> Iterator[Progress]:
    if params.upscale > 1:  # said before the picture is drawn
        upscaler_file(params.upscaler, machine.folder)
    pictures, made_from = _made_from(params, machine)
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder), params, engine, sources=made_from)
        for step in _steps(engine, params, machine, pictures):
            shown = _progress(step)
            if step.image is not None:
                recorder.add(step.index, step.image)
            if not step.done:
                yield shown
        final = _upscaled(recorder, params, machine, pictures)
        files = recorder.finish(step.score, final, draft=step.draft, mp4=False, webp=False)
    picture = Picture(engine, params, shown.score, files["png"], files["gif"], machine)
    yield replace(shown, preview=picture.image, picture=picture)


def rank(
    pictures: Sequence[T], prompt: str, clip: Sequence[str] = (registry.TEXT_ENCODER.name,), *, machine: Machine = HERE
) -> list[tuple[T, float]]:
    """(picture, score) best first: how much each, a Picture or what `init_image` takes, resembles the prompt under
    CLIP. Raises BadParams for fewer than two, UnknownName, BadImage, CheckpointMissing."""
    names = [_reference(one) for one in pictures]
    wanted = {"prompt": as_ranked(prompt, clip), "pictures": tuple(names), "clip": tuple(clip)}
    params = validate_job("rank", wanted)
    *_, last = _steps("rank", params, machine)
    assert last.result is not None
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    return [(pictures[places[one["picture"]].pop(0)], one["score"]) for one in last.result["ranking"]]


def _made_from(params: Params, machine: Machine) -> tuple[Given, Sources]:
    """The pictures to draw from, each read once, and the hashes of all that goes in. Raises BadImage."""
    pictures = Given(params.sources, _bytes)
    return pictures, Sources(pictures.hashes, own_weights(params, machine.folder))


def _steps(name: str, params: JobParams, machine: Machine, pictures: Given | None = None) -> Iterator[Step]:
    from generator.engines import base

    weights = tuple(own_weights(params, machine.folder).items())  # another file under the same name is loaded anew
    with _lock:
        engine = _loaded(name, *params.loads, pick_device(machine.device), machine.folder, weights)
    steps = base.generate(engine, params)
    while True:
        with _lock:
            _drawn_from.append(pictures or _decoded)
            try:
                step = next(steps, None)
            finally:
                _drawn_from.clear()
        if step is None:
            return
        yield step


@lru_cache(KEEP)
def _loaded(
    name: str,
    checkpoint: str,
    clip: tuple[str, ...],
    device: str,
    checkpoints: Path,
    weights: tuple[tuple[str, str], ...],
) -> Engine:
    return loading.load(name, checkpoint, clip, Host(device, checkpoints, lambda name: _drawn_from[-1](name)))


def _progress(step: Step) -> Progress:
    preview = None if step.image is None else to_image(step.image)
    return Progress(step.index, step.total, step.score if math.isfinite(step.score) else None, preview)


def _upscaled(recorder: Recorder, params: Params, machine: Machine, pictures: Given) -> Image.Image | None:
    from generator.upscaler.model import as_asked

    def refused(why: Exception) -> None:
        warnings.warn(f"The picture is not upscaled: {why}", RuntimeWarning, stacklevel=6)

    where: dict[str, Any] = {"device": pick_device(machine.device), "checkpoints_dir": machine.folder}
    with _lock:
        return as_asked(recorder.last(), params, refused, read_image=pictures, **where)


def _named(name: str, value: Any) -> Any:
    """A setting's value, pictures by what they are called here."""
    if name in ("init_image", "mask_image"):
        return None if value is None else _reference(value)
    if name == "image_prompts" and isinstance(value, list | tuple):
        return " | ".join(quoted(_reference(one)) for one in value)
    if name == "image_prompts" and isinstance(value, str):
        return with_files(value)
    return value


def _reference(picture: Any) -> str:
    """What the parameters call a picture: its path, or a name made from its bytes."""
    if isinstance(picture, str | Path):
        return str(picture)
    if isinstance(picture, Image.Image):
        picture = encode(as_decoded(picture), "PNG")
    data = picture.png if isinstance(picture, Picture) else picture
    if not isinstance(data, bytes):
        what = type(data).__name__
        raise BadImage(
            f"A picture is given as a path, the bytes of a file, a Pillow image or a Picture, not as {what}."
        )
    name = f"picture-{hashlib.sha256(data).hexdigest()[:16]}"
    _given[name] = data
    _given.move_to_end(name)
    if len(_given) > MAX_GIVEN:
        _given.popitem(last=False)
    return name


def _bytes(reference: str) -> bytes:
    return _given[reference] if reference in _given else read_file(reference)


def _decoded(reference: str) -> Image.Image:
    return Given([reference], _bytes)(reference)


def _keyword(setting: str) -> str:
    return f"{setting}="
