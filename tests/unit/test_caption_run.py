"""A model of one's own: what a run promises, whoever drives it and however often it is cut off."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from captioned_pictures import Colours
from pydantic import ValidationError

from generator.learning.caption_diffusion.recipe import draw_noise
from generator.learning.caption_diffusion.run import CaptionRun, Team
from generator.learning.runs import Diverged, Progress
from generator.learning.stream.samples import DataProblem
from generator.params.train import TrainParams
from generator.params.train_presets import PRESETS

SMALL: dict[str, Any] = {
    "data": "dataset:colours",
    "name": "colours",
    "seed": 3,
    "size": 16,
    "channels": (8, 16),
    "attention_up_to": 8,
    "text_width": 32,
    "text_layers": 1,
    "caption_tokens": 8,
    "vocabulary": 600,
    "batch_size": 4,
    "steps": 6,
    "sample_every": 3,
    "sample_steps": 3,
    "captions": ("a red square", "a blue square"),
    "precision": "fp32",
}


def a_run(stream: Colours | None = None, **changed: Any) -> CaptionRun:
    return CaptionRun(TrainParams(**(SMALL | changed)), stream or Colours(), "cpu", Path())


def to_the_end(run: CaptionRun, stop_at: int | None = None) -> list[Progress]:
    """Every stretch of a run, one piece of work at a time."""
    made = []
    while not run.done and run.step != stop_at:
        made.append(run.advance(0))
    return made


def losses(made: list[Progress], name: str) -> list[float]:
    return [progress.losses[name] for progress in made if name in progress.losses]


def test_a_run_that_is_cut_off_goes_on_with_the_same_losses_and_the_same_weights() -> None:
    settings: dict[str, Any] = {"dropout": 0.2, "stochastic_depth": 0.1, "mirror": True}
    whole = a_run(**settings)
    expected = to_the_end(whole)
    cut = a_run(**settings)
    before = to_the_end(cut, stop_at=4)
    file = io.BytesIO()
    torch.save(cut.state_dict(), file)
    file.seek(0)
    cut.close()
    again = a_run(**settings)
    again.load_state_dict(torch.load(file, weights_only=True))
    after = to_the_end(again)
    for name in ("train", "validation"):
        assert losses(before, name) + losses(after, name) == losses(expected, name)
    for ours, theirs in zip(again.networks.parameters(), whole.networks.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_run_cut_off_while_it_draws_samples_draws_them_after_all() -> None:
    whole, cut = a_run(), a_run()
    expected = [p.samples for p in to_the_end(whole) if p.samples is not None]
    to_the_end(cut, stop_at=3)
    cut.advance(0)  # the first piece of the look at step 3
    again = a_run()
    again.load_state_dict(cut.state_dict())
    found = [p.samples for p in to_the_end(again) if p.samples is not None]
    assert [sample.shape for sample in found] == [(2, 3, 16, 16)] * 2
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


def test_the_pictures_kept_for_validation_are_never_trained_on() -> None:
    stream = Colours()
    to_the_end(a_run(stream, steps=12))
    assert not {sample.id for sample in stream.samples("validation")} & set(stream.read)


def test_less_memory_makes_the_same_steps() -> None:
    whole, halved = a_run(), a_run()
    assert halved.smaller() and halved.smaller() and not halved.smaller()
    expected, found = to_the_end(whole), to_the_end(halved)
    assert losses(found, "train") == pytest.approx(losses(expected, "train"), rel=1e-4)


def test_processes_that_share_a_batch_make_the_steps_of_one() -> None:
    expected = losses(to_the_end(a_run(steps=2, sample_every=2)), "train")
    barrier, added = threading.Barrier(2), [[], []]  # type: ignore[var-annotated]

    class Half(Team):
        size = 2

        def __init__(self, rank: int) -> None:
            self.rank = rank

        def add_up(self, gradients: list[torch.Tensor], loss: torch.Tensor) -> torch.Tensor:
            added[self.rank] = [tensor.clone() for tensor in (*gradients, loss)]
            barrier.wait()
            for tensor, other in zip((*gradients, loss), added[1 - self.rank], strict=True):
                tensor += other
            barrier.wait()
            return loss

    params = TrainParams(**(SMALL | {"steps": 2, "sample_every": 2}))
    halves = [CaptionRun(params, Colours(), "cpu", Path(), Half(rank)) for rank in (0, 1)]
    assert halves[0].captions == halves[1].captions  # built one after the other: threads share torch's seed
    with ThreadPoolExecutor(2) as pool:
        found = [losses(made, "train") for made in pool.map(to_the_end, halves)]
    assert found[0] == found[1] == pytest.approx(expected, rel=1e-4)


def test_a_step_that_runs_out_of_memory_is_made_again_with_the_same_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, short = a_run(), a_run()
    expected = to_the_end(whole)
    first = to_the_end(short, stop_at=2)
    forward, calls = short._trained, []

    def out_of_memory(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("no more")
        return forward(*args)

    monkeypatch.setattr(short, "_trained", out_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        short.advance(0)
    assert short.step == 2
    assert losses(first + to_the_end(short), "train") == losses(expected, "train")


def test_it_learns_what_the_captions_say() -> None:
    settings: dict[str, Any] = {"channels": (16, 32), "batch_size": 16, "learning_rate": 3e-3, "ema": 0.9}
    run = a_run(Colours(64, 0.1), steps=100, sample_every=100, warmup_steps=5, sample_steps=8, **settings)
    made = to_the_end(run)
    red, blue = next(p.samples for p in made if p.samples is not None).mean((2, 3))
    assert red[0] - red[2] > 0.3 and blue[2] - blue[0] > 0
    curve = losses(made, "train")
    assert sum(curve[-10:]) < 0.5 * sum(curve[:10])


def test_a_run_that_diverges_stops_before_it_spoils_its_weights() -> None:
    run = a_run()
    to_the_end(run, stop_at=2)
    with torch.no_grad():
        next(run.networks.parameters()).fill_(float("nan"))
    kept = [p.clone() for p in run._average.networks.parameters()]
    with pytest.raises(Diverged, match=r"no longer finite at step 2.*smaller learning_rate"):
        run.advance(0)
    assert run.step == 2
    assert all(torch.equal(a, b) for a, b in zip(kept, run._average.networks.parameters(), strict=True))


def test_unreadable_pictures_are_left_out_and_too_few_are_refused_in_a_sentence() -> None:
    made = to_the_end(a_run(Colours(broken=frozenset({"0.png", "1.png", "2.png"}))))
    assert len(losses(made, "train")) == 6
    with pytest.raises(DataProblem, match="colours has 3 captioned pictures to train on; at least 5 are needed"):
        a_run(Colours(3, 0.0)).advance(0)
    with pytest.raises(DataProblem, match="are no pictures"):
        broken = frozenset(f"{n}.png" for n in range(24))
        a_run(Colours(24, 0.0, broken)).advance(0)


def test_captions_of_any_length_are_read_and_the_run_says_what_it_draws() -> None:
    stream = Colours()
    stream._split["train"] = [type(s)(s.id, "word " * 2000, s.image) for s in stream._split["train"]]
    run = a_run(stream, captions=())
    assert run.captions == tuple(sample.caption for sample in stream.samples("validation"))[:8]
    assert run.advance(0).step == 1


def test_a_run_ends_early_where_nothing_more_is_learnt() -> None:
    run = a_run(steps=60, sample_every=2, stop_patience=2, plateau_patience=1, learning_rate=1e-12, warmup_steps=0)
    to_the_end(run)
    assert run.done and run.step < 60


@pytest.mark.parametrize("preset", PRESETS)
def test_every_value_of_a_preset_is_a_default_that_can_be_changed(preset: str) -> None:
    params = TrainParams(data="dataset:a", name="a", preset=preset)
    assert {name: getattr(params, name) for name in PRESETS[preset]} == dict(PRESETS[preset])
    assert TrainParams(data="dataset:a", name="a", preset=preset, steps=7).steps == 7
    assert params.changed().keys() == {"data", "name"} & params.changed().keys()


def test_the_preset_eir_has_the_values_of_the_tutorial() -> None:
    params = TrainParams(data="ws://localhost:8000/ws", name="art", preset="eir")
    assert (params.size, params.batch_size, params.timesteps, params.schedule) == (128, 128, 1000, "squaredcos_cap_v2")
    assert (params.sampler, params.sample_steps, params.eta, params.prediction) == ("ddim", 200, 0.2, "v")
    assert (params.learning_rate, params.weight_decay, params.warmup_steps) == (1e-4, 1e-4, 2000)
    assert (params.plateau_patience, params.stop_patience, params.gradient_clipping) == (16, 32, 1.0)
    assert (params.text_width, params.text_layers, params.caption_tokens, params.min_frequency) == (256, 6, 64, 2)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "../escape"}, "cannot name a model"),
        ({"size": 24}, "cannot be halved"),
        ({"channels": (8, 20)}, "multiple of 8"),
        ({"attention_up_to": 4}, "nothing would read the caption"),
        ({"micro_batch": 3}, "does not divide"),
        ({"zero_terminal_snr": True, "prediction": "epsilon"}, "needs prediction=v"),
        ({"eta": 0.5}, "needs sampler=ddim"),
        ({"base": "../model"}, "choose stable-diffusion-1-5"),
        ({"captions": ("a",) * 17}, "at most 16"),
    ],
)
def test_settings_that_cannot_be_trained_with_are_refused(changed: dict[str, Any], said: str) -> None:
    settings = SMALL | ({"channels": (8, 16, 32, 32, 32)} if "size" in changed else {})
    with pytest.raises(ValidationError, match=said):
        TrainParams(**(settings | changed))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_the_levels_of_a_batch_are_spread_evenly_and_shifted_towards_noise(shift: float) -> None:
    levels, count = 1000, 50
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        times = draw_noise(levels, (count, 3, 2, 2), 0.1, generator, shift).times.double()
        assert times.min() >= 0 and times.max() < levels
        even = times / (shift * levels - (shift - 1) * times)  # where each lay before the shift
        shares = (even + 0.5 / levels).clamp(max=1 - 1e-9).mul(count).long().sort().values
        assert (shares - torch.arange(count)).abs().max() <= 1, "one in every share of the levels"
    assert not torch.equal(times, times.sort().values), "whichever picture it is"
