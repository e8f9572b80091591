"""What every engine that draws promises: reproducible, independent of its batch, resumable, honest about failure."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from generator.engines.base import Engine, NotFinite, Step, generate
from tests import tiny_engines
from tests.tiny_engines import last


@dataclass(frozen=True)
class Tiny:
    """An engine, the side of its pictures in px, the index of its first Step, what its failure names, its sizes of
    micro_batch, and settings in which its promises hold."""

    build: Callable[[Path], Engine]
    settings: Callable[..., Any]
    side: int
    first: int
    names: str
    parts: tuple[int, ...]
    seeded: tuple[dict[str, Any], ...]
    resumed: tuple[dict[str, Any], ...]
    crowd: tuple[dict[str, Any], ...]
    within: float = 1e-3  # of a pixel, where passes are shared


OPTIMISERS = ("Adam", "RAdam", "NAdam", "Adamax", "RMSprop", "SGD", "AdamW")
SAMPLERS = ("dpm-solver-2m", "ddim", "euler", "euler-ancestral", "pndm")
BIGGAN_STARTS = (
    {"init": "text"},
    {"init": "random", "latents": "per-layer", "max_classes": 0},
    {"init": "class", "init_class": "food-fruit", "truncation": 0.5},
)
FOLLOWED = {"ema": 0.9, "init_weight": 0.5, "patience": 5}
SKIPPED = {"steps": 7, "skip_steps": 1, "init_scale": 5.0}
COARSE = ({"coarse": 0.3, "ema": 0.5, "optimiser": "SGD"}, {"coarse": 0.8})  # saved before and after it grows
MASKED = {"init_image": "red.png", "mask_image": "mask.png"}
DIFFUSIONS = ({"sampler": "dpm-solver-2m"}, {"sampler": "ddim", "eta": 0.5})

ENGINES = {
    "vqgan-clip": Tiny(
        lambda _: tiny_engines.vqgan_clip(),
        tiny_engines.vqgan_settings,
        side=16,
        first=0,
        names="learning_rate 0.1",
        parts=(1, 3, 5),
        seeded=({"init": "random"}, {"init": "prior"}, {"init": "gradient"}),
        resumed=(*({"optimiser": optimiser, **FOLLOWED} for optimiser in OPTIMISERS), {**MASKED, "ema": 0.5}, *COARSE),
        crowd=(
            {"seed": 1, "tv_weight": 0.5, "coarse": 0.5},
            {"seed": 2, "cutn": 7, "prompt": "a cat | fog:-0.5", "learning_rate": 0.05},
            {"seed": 3, "augment": False, "loss": "cosine", "optimiser": "AdamW", "tv_weight": 0.1, "ema": 0.5},
            {"seed": 4, "steps": 2, "width": 24, "tv_weight": 0.5},
            {"seed": 5, "tv_weight": 0.5, **MASKED},
        ),
    ),
    "biggan-clip": Tiny(
        lambda _: tiny_engines.biggan_clip(),
        tiny_engines.biggan_settings,
        side=16,
        first=0,
        names="learning_rate 0.1",
        parts=(3,),
        seeded=BIGGAN_STARTS,
        resumed=tuple({**start, **FOLLOWED} for start in BIGGAN_STARTS),
        crowd=(
            {"seed": 1, "cutn": 7, "prompt": "a cat | fog:-0.5"},
            {"seed": 2, "init": "random", "latents": "per-layer", "max_classes": 0, "class_weight": 0.1},
            {"seed": 3, "truncation": 0.4, "loss": "cosine", "optimiser": "AdamW", "ema": 0.5, "latent_weight": 0.1}
            | {"init_weight": 1.0},
            {"seed": 4, "init": "random", "truncation": 0.8},
        ),
    ),
    "guided-diffusion": Tiny(
        lambda _: tiny_engines.guided_diffusion(),
        tiny_engines.guided_settings,
        side=16,
        first=0,
        names="clip_guidance_scale",
        parts=(2,),
        seeded=({}, {"eta": 0.8}, {"sampler": "dpm-solver-2m"}, {"grad_through": "x0"}),
        resumed=tuple(
            {**SKIPPED, **one}
            for one in ({"eta": 0.8}, {"sampler": "dpm-solver-2m"}, {"init_image": "red.png"}, {**MASKED, "eta": 0.8})
        ),
        crowd=(
            {"seed": 1, "eta": 0.5},
            {"seed": 2, "cutn": 5, "prompt": "a cat | fog:-0.5", "eta": 0.5, "cutn_batches": 2, "steps": 7},
            {"seed": 3, "augment": False, "loss": "cosine", "sampler": "dpm-solver-2m", "style": None}
            | {"grad_through": "x0"},
            {"seed": 4, "clip_guidance_scale": 0.0, "tv_scale": 10.0, "sat_scale": 1.0},
            {"seed": 5, "init_image": "red.png", "skip_steps": 2, "init_scale": 10.0},
            {"seed": 6, "steps": 2, "width": 24},
            {"seed": 7, **MASKED},
        ),
        within=2e-3,
    ),
    "latent-diffusion": Tiny(
        lambda _: tiny_engines.latent_diffusion(),
        tiny_engines.latent_settings,
        side=64,
        first=1,
        names="cfg_scale",
        parts=(1,),
        seeded=DIFFUSIONS,
        resumed=tuple({**one, "prompt": "a heart | a car:-1"} for one in (*DIFFUSIONS, MASKED)),
        crowd=(
            {"seed": 3},
            {"seed": 9, "cfg_scale": 4.0, "candidates": 1, "prompt": "a heart | a car:-1"},
            {"seed": 4, **MASKED},
        ),
    ),
    "stable-diffusion": Tiny(
        tiny_engines.stable_diffusion,
        tiny_engines.stable_settings,
        side=32,
        first=1,
        names="cfg_scale",
        parts=(1,),
        seeded=tuple({"sampler": sampler, "eta": 0.5 if sampler == "ddim" else 0.0} for sampler in SAMPLERS),
        resumed=(
            *({"sampler": sampler} for sampler in SAMPLERS),
            {**MASKED, "sampler": "euler-ancestral"},
            {"clip_guidance_scale": 500.0, "prompt": "a heart | a car:-1"},
        ),
        crowd=(
            {"seed": 9, "cfg_scale": 1.0, "candidates": 2, "sampler": "euler-ancestral"},
            {"seed": 3, "sampler": "pndm"},
            {"seed": 4, "candidates": 3},
        ),
    ),
}


def each(field: str) -> list[Any]:
    return [
        pytest.param(name, values, id=f"{name}-{number}")
        for name, tiny in ENGINES.items()
        for number, values in enumerate(getattr(tiny, field))
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Engine]]:
    threads, engines = torch.get_num_threads(), dict[str, Engine]()

    def get(name: str) -> Engine:
        if name not in engines:
            engines[name] = ENGINES[name].build(tmp_path_factory.mktemp("checkpoints"))
        engines[name].micro_batch = engines[name].exact = None
        return engines[name]

    yield get
    torch.set_num_threads(threads)


Made = Callable[[str], Any]
Alone = Callable[[str], dict[int, Step]]


@pytest.fixture(scope="module")
def alone(made: Callable[[str], Engine]) -> Alone:
    """The last Step of each picture of an engine's crowd, drawn by itself, by its seed."""

    @cache
    def get(name: str) -> dict[int, Step]:
        crowd = [ENGINES[name].settings(**values) for values in ENGINES[name].crowd]
        return {params.seed: last(made(name), params) for params in crowd}

    return get


every_engine = pytest.mark.parametrize("name", ENGINES)


def finished(engine: Engine, crowd: list[Any]) -> dict[int, Step]:
    """The last Step of each picture by its seed; the first begins alone, the others join it and leave when done."""
    slots = [engine.open(params) for params in crowd]
    steps = {}
    engine.advance(slots[:1])
    while live := [slot for slot in slots if not slot.done]:
        for slot, step in zip(live, engine.advance(live), strict=True):
            steps[slot.params.seed] = step
    return steps


def assert_close(one: Step, other: Step, within: float) -> None:
    torch.testing.assert_close(one.image, other.image, atol=within, rtol=0)
    assert one.image is not None and one.score == pytest.approx(other.score, abs=1e-3)


@every_engine
def test_steps_are_counted_to_the_last_and_each_shows_a_picture(made: Made, name: str) -> None:
    tiny = ENGINES[name]
    steps = list(generate(made(name), tiny.settings(steps=3, save_every=1)))
    assert [(s.index, s.total, s.done) for s in steps] == [(i, 3, i == 3) for i in range(tiny.first, 4)]
    for step in steps:
        assert (
            step.image is not None
            and step.image.shape == (3, tiny.side, tiny.side)
            and step.image.dtype == torch.float32
        )
        assert step.image.min() >= 0 and step.image.max() <= 1 and -1 <= step.score <= 1


@every_engine
def test_frames_are_due_every_so_many_steps_and_at_the_end(made: Made, name: str) -> None:
    steps = list(generate(made(name), ENGINES[name].settings(steps=5, save_every=2)))
    for step in steps[ENGINES[name].first :]:  # Stable Diffusion shows its first step as well
        assert (step.image is not None) == (step.done or step.index % 2 == 0)


@pytest.mark.parametrize(("name", "values"), each("seeded"))
def test_a_seed_gives_the_same_bytes_whatever_else_was_drawn_and_another_another_picture(
    made: Made, name: str, values: dict[str, Any]
) -> None:
    images = []
    with torch.random.fork_rng():
        for number, seed in enumerate((7, 7, 8)):
            torch.manual_seed(number)
            images.append(last(made(name), ENGINES[name].settings(seed=seed, **values)).image)
    assert torch.equal(images[0], images[1]) and not torch.equal(images[0], images[2])


@every_engine
def test_a_picture_is_the_same_bytes_alone_and_among_others_that_join_and_leave(
    made: Made, alone: Alone, name: str
) -> None:
    engine, crowd = made(name), [ENGINES[name].settings(**values) for values in ENGINES[name].crowd]
    expected = alone(name)
    for together in (finished(engine, crowd), finished(engine, crowd[:0:-1])):
        for seed, step in together.items():
            assert torch.equal(step.image, expected[seed].image) and step.score == expected[seed].score
            assert step.losses == expected[seed].losses


@every_engine
def test_where_passes_are_shared_a_picture_differs_by_no_more_than_their_rounding(
    made: Made, alone: Alone, name: str
) -> None:
    engine, crowd = made(name), [ENGINES[name].settings(**values) for values in ENGINES[name].crowd]
    expected = alone(name)
    engine.exact = False
    for seed, step in finished(engine, crowd).items():
        assert_close(step, expected[seed], ENGINES[name].within)


@pytest.mark.parametrize(("name", "micro_batch"), each("parts"))
def test_a_few_at_a_time_give_the_same_pictures_as_all_at_once(made: Made, name: str, micro_batch: int) -> None:
    engine, crowd = made(name), [ENGINES[name].settings(**values) for values in ENGINES[name].crowd[:3]]
    engine.exact = False
    whole = finished(engine, crowd)
    engine.micro_batch = micro_batch
    for seed, step in finished(engine, crowd).items():
        assert_close(step, whole[seed], ENGINES[name].within)


@pytest.mark.parametrize(("name", "values"), each("resumed"))
def test_an_interrupted_picture_goes_on_exactly_where_it_was(made: Made, name: str, values: dict[str, Any]) -> None:
    engine, params = made(name), ENGINES[name].settings(**values)
    whole, slot, half = last(engine, params), engine.open(params), params.total_steps // 2
    for _ in range(half):
        engine.advance([slot])
    file = io.BytesIO()
    torch.save(slot.state_dict(), file)
    engine.advance([slot])
    file.seek(0)
    resumed = engine.resume(params, torch.load(file, weights_only=True))
    assert resumed.index == half
    while not resumed.done:
        (step,) = engine.advance([resumed])
    assert step.index == whole.index and torch.equal(step.image, whole.image) and step.score == whole.score


@every_engine
def test_a_state_of_another_version_and_a_finished_picture_are_refused(made: Made, name: str) -> None:
    engine, params = made(name), ENGINES[name].settings(steps=1)
    slot = engine.open(params)
    with pytest.raises(ValueError, match="version 99"):
        engine.resume(params, {**slot.state_dict(), "version": 99})
    while not slot.done:
        engine.advance([slot])
    with pytest.raises(ValueError, match="done"):
        engine.advance([slot])
    assert engine.advance([]) == []


@every_engine
def test_a_step_that_ran_out_of_memory_can_be_taken_again_in_smaller_parts(
    made: Made, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = made(name)
    engine.exact = False
    crowd = [ENGINES[name].settings(**{**values, "save_every": 1}) for values in ENGINES[name].crowd[:2]]
    whole = finished(engine, crowd)
    slots = [engine.open(params) for params in crowd]
    engine.advance(slots[:1])
    engine.micro_batch, before, passes = 2, [slot.index for slot in slots], []
    encode = engine.clips[0].encode_image

    def too_much(images: torch.Tensor) -> torch.Tensor:
        passes.append(len(images))
        if len(passes) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return encode(images)

    monkeypatch.setattr(engine.clips[0], "encode_image", too_much)
    with pytest.raises(torch.OutOfMemoryError):
        engine.advance(slots)
    assert [slot.index for slot in slots] == before
    while live := [slot for slot in slots if not slot.done]:
        for slot, step in zip(live, engine.advance(live), strict=True):
            if step.done:
                assert_close(step, whole[slot.params.seed], ENGINES[name].within)


@every_engine
def test_numbers_that_are_not_finite_stop_that_picture_and_leave_the_others(made: Made, name: str) -> None:
    engine, settings = made(name), ENGINES[name].settings
    good, bad = engine.open(settings(seed=1)), engine.open(settings(seed=2))
    engine.advance([good, bad])
    with torch.no_grad():
        (bad.x if hasattr(bad, "x") else bad.z).flatten()[0] = torch.nan
    first, second = engine.advance([bad, good])
    assert isinstance(first.error, NotFinite) and first.image is None and first.done and bad.done
    assert ENGINES[name].names in str(first.error) and second.error is None
    while not good.done:
        (second,) = engine.advance([good])
    assert_close(second, last(engine, settings(seed=1)), ENGINES[name].within)
