"""What every engine promises, looked into on any device: the same seed, whoever is drawn beside, an interruption,
numbers that are not finite, memory that runs out.

python scripts/check_promises.py vqgan-clip --device cuda --json promises.json
Engines are tiny and have random weights; `scripts/measure_engines.py --promises` looks into those of real size.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from executor.memory import free_cached, halve_micro_batch, is_out_of_memory
from generator.engines.base import NotFinite, Step
from scripts.device_turn import turn
from tests import tiny_engines

STEPS = 4  # of each picture
NEAR = 0.02  # mean difference of two pictures, of a pixel's range: passes in parts round otherwise
WHERE = 3  # places of a wait that are named, the innermost


@dataclass(frozen=True)
class Case:
    """An engine, its device, settings by seed, and which function of which part a pass of many rows goes through."""

    engine: Any
    device: str
    settings: Callable[[int], Any]
    many: tuple[Any, str]


class Broken(AssertionError):
    """A promise is not kept; a sentence that says how."""


def advanced(case: Case, slots: Sequence[Any], steps: int) -> list[Step]:
    """The last Step of each slot after so many. Raises a slot's error."""
    made: list[Step] = []
    for _ in range(steps):
        made = case.engine.advance(list(slots))
        for step in made:
            if step.error:
                raise step.error
    return made


def digest(slot: Any, step: Step) -> str:
    """Of the picture shown and of the latent behind it, to the last bit."""
    latent = slot.x if hasattr(slot, "x") else slot.z
    found = hashlib.sha256(latent.detach().float().cpu().contiguous().numpy().tobytes())
    if step.image is not None:
        found.update(step.image.numpy().tobytes())
    return found.hexdigest()


def alone(case: Case, seed: int, steps: int = STEPS) -> tuple[str, Step]:
    """A picture by itself: its digest and its last Step."""
    slot = case.engine.open(case.settings(seed))
    (step,) = advanced(case, [slot], steps)
    return digest(slot, step), step


def same_seed(case: Case) -> str:
    """The same seed gives the same bytes, another one others."""
    first, again, other = (alone(case, seed)[0] for seed in (1, 1, 2))
    if first != again:
        raise Broken("the same seed gave two pictures")
    if first == other:
        raise Broken("two seeds gave one picture")
    return "the same bytes"


def same_batch(case: Case) -> str:
    """The same pictures drawn together twice, in shared passes, are the same bytes both times."""
    case.engine.exact = False
    found = []
    for _ in range(2):
        slots = [case.engine.open(case.settings(seed)) for seed in (1, 2, 3)]
        steps = advanced(case, slots, STEPS)
        found.append([digest(slot, step) for slot, step in zip(slots, steps, strict=True)])
    if found[0] != found[1]:
        raise Broken("the same batch gave other pictures the second time")
    return "the same bytes"


def others(case: Case) -> str:
    """A picture is the same bytes alone and among others that join and leave, where that is asked for (`exact`)."""
    case.engine.exact = True
    whole = alone(case, 1)[0]
    slot = case.engine.open(case.settings(1))
    advanced(case, [slot], 1)
    beside = [case.engine.open(case.settings(seed)) for seed in (2, 3)]
    advanced(case, [beside[0], slot], 1)
    (*_, step) = advanced(case, [*beside, slot], STEPS - 2)
    if digest(slot, step) != whole:
        raise Broken("a picture was another one beside others")
    return "the same bytes"


def resumed(case: Case) -> str:
    """A picture goes on from its saved state exactly where it was."""
    whole = alone(case, 1)[0]
    slot = case.engine.open(case.settings(1))
    advanced(case, [slot], STEPS // 2)
    file = io.BytesIO()
    torch.save(slot.state_dict(), file)
    file.seek(0)
    again = case.engine.resume(case.settings(1), torch.load(file, weights_only=True))
    (step,) = advanced(case, [again], STEPS - STEPS // 2)
    if digest(again, step) != whole:
        raise Broken("the picture that was resumed is another one")
    return "the same bytes"


def not_finite(case: Case) -> str:
    """Numbers that are not finite end that picture and no other."""
    case.engine.exact = False
    good, bad = (case.engine.open(case.settings(seed)) for seed in (1, 2))
    advanced(case, [good, bad], 1)
    with torch.no_grad():
        (bad.x if hasattr(bad, "x") else bad.z).flatten()[0] = torch.nan
    ended, step = case.engine.advance([bad, good])
    if not isinstance(ended.error, NotFinite) or not bad.done:
        raise Broken("the picture with NaN went on")
    if step.error:
        raise Broken(f"the picture beside one with NaN ended: {step.error}")
    (step,) = advanced(case, [good], STEPS - 2)
    return f"the other is {_apart(step, alone(case, 1)[1]):.4f} from itself alone"


def out_of_memory(case: Case) -> str:
    """Where memory runs out a step is taken again in smaller parts, and gives the same picture but for rounding."""
    whole = alone(case, 1)[1]
    slot, refused = case.engine.open(case.settings(1)), 0
    with too_little_memory(case):
        for _ in range(STEPS):
            step, times = _in_parts(case, slot)
            refused += times
    if not refused:
        raise Broken("it was not short of memory")
    return f"micro-batch {case.engine.micro_batch}, {_apart(step, whole):.4f} from the picture made at once"


def _in_parts(case: Case, slot: Any) -> tuple[Step, int]:
    """One step, taken as executors take it: how often memory was refused."""
    refused, before = 0, slot.index
    while True:
        try:
            (step,) = advanced(case, [slot], 1)
            return step, refused
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            error.__traceback__ = None  # its frames hold the tensors of the step that failed
        if slot.index != before:
            raise Broken("a slot moved in a step that broke off")
        refused += 1
        free_cached(case.device)
        if halve_micro_batch(case.engine, slot.params.cutouts_per_step) is None:
            raise Broken("it did not go on with one at a time either")


@contextmanager
def too_little_memory(case: Case) -> Iterator[None]:
    """The device's allocator refuses, with its own error, every pass of as many rows as the first one."""
    owner, name = case.many
    function, before, most = getattr(owner, name), vars(owner).get(name), list[int]()

    def limited(rows: Tensor, *rest: Any, **named: Any) -> Any:
        if not most:
            most.append(len(rows))
        if len(rows) >= most[0] > 1:
            torch.empty(1 << 50, dtype=torch.uint8, device=case.device)
        return function(rows, *rest, **named)

    setattr(owner, name, limited)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _apart(one: Step, other: Step) -> float:
    """Mean difference of two pictures (3, H, W). Raises Broken where it is more than rounding."""
    if one.image is None or other.image is None:
        raise Broken("no picture was shown")
    apart = float((one.image - other.image).abs().mean())
    if not apart <= NEAR:
        raise Broken(f"the picture is another one, by {apart:.3f} in the mean")
    return apart


def waits(case: Case) -> dict[str, Any] | None:
    """How often the program waits for the device in one step of one picture that shows no frame, and where; None on a
    device for which nobody waits."""
    if not case.device.startswith("cuda"):
        return None
    params = case.settings(1)
    slot = case.engine.open(params.model_copy(update={"save_every": 1000}))
    advanced(case, [slot], 2)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            case.engine.advance([slot])
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found = [warning for warning in told if "synchroniz" in str(warning.message)]
    places = [f"{'/'.join(Path(one.filename).parts[-WHERE:])}:{one.lineno}" for one in found]
    return {"times": len(found), "places": list(dict.fromkeys(places))}


PROMISES: dict[str, Callable[[Case], str]] = {
    "same seed": same_seed,
    "same batch": same_batch,
    "beside others": others,
    "resumed": resumed,
    "not finite": not_finite,
    "out of memory": out_of_memory,
}


def kept(case: Case) -> dict[str, dict[str, Any]]:
    """Of every promise whether it is kept, and what is to be said of that."""
    found: dict[str, dict[str, Any]] = {}
    for name, promise in PROMISES.items():
        case.engine.micro_batch = case.engine.exact = None
        try:
            found[name] = {"kept": True, "said": promise(case)}
        except Exception as error:
            found[name] = {"kept": False, "said": f"{type(error).__name__}: {error}".splitlines()[0]}
    case.engine.micro_batch = case.engine.exact = None
    return found


def tiny(name: str, device: str, folder: Path) -> Case:
    """The tiny engine of that name, with products as the device makes them best."""
    how: dict[str, Any] = {"device": device, "precision": None}
    common = {"steps": 2 * STEPS, "save_every": 1}
    if name == "vqgan-clip":
        engine: Any = tiny_engines.vqgan_clip(composer=None, **how)
        return Case(engine, device, _by_seed(tiny_engines.vqgan_settings, common), (engine.clips[0], "encode_image"))
    if name == "biggan-clip":
        engine = tiny_engines.biggan_clip(**how)
        return Case(engine, device, _by_seed(tiny_engines.biggan_settings, common), (engine.clips[0], "encode_image"))
    if name == "guided-diffusion":
        engine = tiny_engines.guided_diffusion(**how)
        return Case(engine, device, _by_seed(tiny_engines.guided_settings, common), (engine.clips[0], "encode_image"))
    if name == "latent-diffusion":
        engine = tiny_engines.latent_diffusion(composer=None, **how)
        return Case(engine, device, _by_seed(tiny_engines.latent_settings, common), (engine.model, "forward"))
    engine = tiny_engines.stable_diffusion(folder, **how)
    common = {**common, "candidates": 2}
    return Case(engine, device, _by_seed(tiny_engines.stable_settings, common), (engine.models.unet, "forward"))


def _by_seed(settings: Callable[..., Any], common: dict[str, Any]) -> Callable[[int], Any]:
    return lambda seed: settings(seed=seed, **common)


ENGINES = ("vqgan-clip", "guided-diffusion", "stable-diffusion", "latent-diffusion", "biggan-clip")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="the file to write")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        case = tiny(given.engine, given.device, Path(folder))
        with turn():
            promises, waited = kept(case), waits(case)
    given.json.write_text(json.dumps({"promises": promises, "waits": waited}, indent=1))
    return int(not all(one["kept"] for one in promises.values()))


if __name__ == "__main__":
    sys.exit(main())
