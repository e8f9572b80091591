"""`Module(name="stable_diffusion").generate_image("a red heart")`: drawn in this process, without server or queue."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from generator import params, registry
from generator.checkpoints.command_line import checkpoints_dir as default_dir
from generator.checkpoints.fingerprint import own_weights
from generator.device import Host, pick_device
from generator.engines import loading
from generator.images.decode import BadImage, as_decoded
from generator.images.encode import encode, to_image
from generator.output.metadata import encode_png
from generator.output.sources import Given, Sources
from generator.paddlehub.arguments import described, signature
from generator.paddlehub.modules import MODULES
from generator.paddlehub.planning import Group, Plan, plan
from generator.paddlehub.results import Files, Made, documents
from generator.params import Params
from generator.wording import Notice, understand
from generator.wording.command_line import sources

_HELP = """Draw pictures of a prompt.

{arguments}

Returns a DocumentArray: docarray's own where a version before 0.30 is installed. With an embedded model what is not
said is the model's own, its size always. Raises TypeError for an unknown argument, BadParams for one out of range,
BadImage, CheckpointMissing, PromptTooLong.
"""


class Module:
    """One of PaddleHub's modules by its name. Weights stay loaded between calls."""

    generate_image: Callable[..., Any]

    def __init__(
        self,
        name: str,
        *,
        device: str = "auto",
        checkpoints_dir: str | Path | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """device: as `generator.device.pick_device`. checkpoints_dir: T2I_CHECKPOINTS_DIR or data/checkpoints.

        say: is told, in one line, what is not as it was asked for. Raises UnknownName with the valid ones.
        """
        self.spec = registry.lookup("module", MODULES, name)
        self._device, self._say = device, say
        self._dir = Path(checkpoints_dir or default_dir())
        self._loaded: dict[Any, Any] = {}
        self._start: Image.Image | None = None
        self._start_hash = ""
        self.generate_image = self._call()

    def _call(self) -> Callable[..., Any]:
        """`generate_image` with the signature and the documentation of this module's arguments."""
        declared = signature(self.spec.arguments)

        def generate_image(*args: Any, **named: Any) -> Any:
            try:
                bound = declared.bind(*args, **named)
            except TypeError as error:
                raise TypeError(f"generate_image() {error}") from None
            return self.draw(plan(self.spec, bound.arguments, self._dir))

        generate_image.__signature__ = declared  # type: ignore[attr-defined]
        generate_image.__doc__ = _HELP.format(arguments=described(self.spec.arguments))
        return generate_image

    def draw(self, wanted: Plan) -> Any:
        """The DocumentArray of a plan of this module."""
        # All of it is checked before anything is drawn.
        groups = [(group, self._params(wanted, group)) for group in wanted.groups]
        self._start, self._start_hash = _opened(getattr(wanted.arguments, "init_image", None))
        if wanted.notes:
            self._say(f"{self.spec.name}: {' '.join(wanted.notes)}")
        files, made = Files(wanted), []
        for number, (_, pictures) in enumerate(groups):
            made.append(self._together(wanted, pictures, number, files))
        found = documents(wanted, made)
        for number, some in enumerate(made):
            files.finished(number, found[number], some)
        return found

    def _params(self, wanted: Plan, group: Group) -> list[Params]:
        # Frames are taken where PaddleHub takes them, at the first step and at every display_rate-th after it; a real
        # latent model decodes each picture that it shows, so it shows no others.
        real_latent = self.spec.engine == "latent-diffusion" and not registry.checkpoint(wanted.checkpoint).embedded
        every = wanted.arguments.named["display_rate"] if real_latent else 1
        values = {**group.values, "save_every": every}
        said: set[Notice] = set()
        made = [self._understood(values, said)]
        for n in range(1, group.count):
            made.append(self._understood({**values, "seed": (made[0].seed + n) % 2**32}, said))
        return made

    def _understood(self, values: dict[str, Any], said: set[Notice]) -> Params:
        """The parameters of one picture from what was typed; what was said of others of its group is not said again."""
        read = understand(self.spec.engine, values, sources())
        for notice in read.notices:
            if notice not in said:
                self._say(f"{self.spec.name}: {notice}")
        said.update(read.notices)
        return params.validate(self.spec.engine, read.values)

    def _together(self, wanted: Plan, pictures: list[Params], number: int, files: Files) -> list[Made]:
        """The pictures of one group, in one batch."""
        from generator.upscaler.model import as_asked

        rate = wanted.arguments.named["display_rate"]
        engine = self._engine(wanted, pictures[0])
        slots = [engine.open(one) for one in pictures]
        frames: list[list[tuple[int, Image.Image]]] = [[] for _ in slots]
        last: list[tuple[Image.Image, float]] = [(Image.new("RGB", (1, 1)), float("nan")) for _ in slots]
        every = getattr(pictures[0], "save_every", 1)
        while live := [n for n, slot in enumerate(slots) if not slot.done]:
            shown = False
            for n, step in zip(live, engine.advance([slots[n] for n in live]), strict=True):
                if step.error:
                    raise step.error
                if step.image is None:
                    continue
                last[n] = to_image(step.image), step.score
                if step.index and (every > 1 or (step.index - 1) % rate == 0):
                    frames[n].append((step.index, last[n][0]))
                    shown = True
            if shown:
                files.progress(number, [image for image, _ in last])
        finished = []
        for n, one in enumerate(pictures):
            drawn, device = last[n][0], self._device_of(wanted)
            image = as_asked(drawn, one, self._refused, device=device, checkpoints_dir=self._dir) or drawn
            start = dict.fromkeys(one.sources, self._start_hash)
            made_from = Sources(start, own_weights(one, self._dir))
            png = encode_png(image, self.spec.engine, one, last[n][1], made_from)
            finished.append(Made(png, one.model_dump(), one.total_steps, frames[n]))
        files.progress(number, [one.picture for one in finished])
        return finished

    def _engine(self, wanted: Plan, one: Params) -> Any:
        key = one.checkpoint, one.clip, self._device_of(wanted)
        if key not in self._loaded:
            self._loaded[key] = loading.load(self.spec.engine, *key[:2], Host(key[2], self._dir, self._read))
        return self._loaded[key]

    def _device_of(self, wanted: Plan) -> str:
        return pick_device(self._device if wanted.arguments.named["use_gpu"] else "cpu")

    def _read(self, reference: str) -> Image.Image:
        assert self._start is not None
        return self._start

    def _refused(self, why: Exception) -> None:
        self._say(f"{self.spec.name}: The picture is not upscaled: {why}")


def _opened(given: Any) -> tuple[Image.Image | None, str]:
    """The picture to start from, a Pillow image or the path of a file, and the sha256 of its file. Raises BadImage."""
    if given is None:
        return None, ""
    if isinstance(given, Image.Image):
        image = as_decoded(given)
        return image, hashlib.sha256(encode(image, "PNG")).hexdigest()
    if not isinstance(given, str | Path):
        raise BadImage(f"init_image is a {type(given).__name__}; a file's path or a Pillow image is needed.")
    found = Given([str(given)])
    return found(str(given)), found.hashes[str(given)]
