"""Candidates, rank, vary, upscale: each a job of its own, on the embedded models."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from db import queue
from db.jobs import Job
from generator import registry
from generator.device import Host
from generator.engines.base import generate
from generator.engines.rank import Rank
from generator.engines.upscale import OtherSize, Upscale
from generator.output.metadata import read_metadata
from generator.params import BadParams, validate, validate_job
from generator.params.vary import varied
from tests.chain_studio import DRAFT, ChainStudio

HEART = {"prompt": "a red heart", **DRAFT}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainStudio]:
    made = ChainStudio(tmp_path_factory.mktemp("chain"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def pictures(studio: ChainStudio) -> list[Job]:
    """Two finished pictures of hearts and one of a tree."""
    asked = [studio.add("latent-diffusion", **{**HEART, "seed": seed}) for seed in (1, 2)]
    asked.append(studio.add("latent-diffusion", **{**HEART, "prompt": "a green tree", "seed": 3}))
    done = studio.run(*asked)
    assert [(job.state, job.error) for job in done] == [("succeeded", None)] * 3
    return done


def test_a_picture_of_the_studio_can_be_named_by_its_key(studio: ChainStudio, pictures: list[Job]) -> None:
    key = studio.files(pictures[0])["picture"].key
    (job,) = studio.run(studio.add("latent-diffusion", **HEART, seed=5, init_image=key))
    assert (job.state, job.error) == ("succeeded", None)


def test_a_ranking_is_a_job_that_leaves_scores_and_no_picture(studio: ChainStudio, pictures: list[Job]) -> None:
    ids = [studio.files(job)["picture"].id for job in pictures]
    (job,) = studio.run(studio.add("rank", prompt="a red heart", pictures=[ids[2], ids[0], ids[1]]))
    assert (job.state, job.error, job.step, job.total_steps) == ("succeeded", None, 3, 3)
    assert set(studio.files(job)) == {"result"}
    ranking = studio.result(job)["ranking"]
    assert {entry["picture"] for entry in ranking} == set(ids)
    assert ranking[-1]["picture"] == ids[2], "the tree is no red heart"
    scores = [entry["score"] for entry in ranking]
    assert scores == sorted(scores, reverse=True) and -1 <= scores[-1] < scores[0] <= 1
    assert job.score == pytest.approx(scores[0], abs=1e-5)


def test_a_picture_is_upscaled_as_a_job_and_keeps_its_settings(studio: ChainStudio, pictures: list[Job]) -> None:
    source = studio.files(pictures[0])["picture"]
    asked = studio.add("upscale", picture=source.id, width=source.width, height=source.height, tile=32)
    assert asked.total_steps > 4, "one step for each tile"
    (job,) = studio.run(asked)
    assert (job.state, job.error, job.step, job.score) == ("succeeded", None, asked.total_steps, None)
    assert set(studio.files(job)) == {"picture", "thumbnail", "json"}, "there is no film of one picture"
    assert studio.image(job).size == (256, 256) == (studio.files(job)["picture"].width,) * 2
    small = studio.image(pictures[0]).resize((256, 256), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(small, float) - np.asarray(studio.image(job), float)).mean() < 20
    engine, params = read_metadata(studio.bytes(job))
    assert (engine, params.prompt, params.seed, params.upscale) == ("latent-diffusion", "a red heart", 1, 4)
    metadata = json.loads(studio.bytes(job, "json"))
    assert (metadata["engine"], metadata["params"]["picture"], metadata["size"]) == ("upscale", source.id, [256, 256])
    assert metadata["made_from"]["params"]["seed"] == 1


def test_the_best_of_candidates_is_varied_and_its_best_variation_upscaled(studio: ChainStudio) -> None:
    sheet, asked = studio.submit("candidates", "latent-diffusion", [{**HEART, "seed": seed} for seed in (11, 12)])
    made = studio.run(*asked)
    best = studio.best_of(sheet, made)
    picture = studio.files(best)["picture"]
    values = [varied("latent-diffusion", {**best.params, "seed": seed}, picture.id, 0.5) for seed in (21, 22)]
    sheet, asked = studio.submit("variations", "latent-diffusion", values, parent=best)
    made = studio.run(*asked)
    assert [(job.state, job.total_steps) for job in made] == [("succeeded", 1)] * 2, "half of two steps is skipped"
    start = np.asarray(studio.image(best), float)
    drawn = [np.asarray(studio.image(job), float) for job in made]
    assert not np.array_equal(*drawn), "two variations are two pictures"
    best = studio.best_of(sheet, made)
    source = studio.files(best)["picture"]
    upscaled = studio.add(
        "upscale", parent=best, source=source.id, picture=source.id, width=source.width, height=source.height
    )
    (last,) = studio.run(upscaled)
    assert last.state == "succeeded" and studio.image(last).size == (256, 256)
    way = [last]
    while (parent_id := way[-1].parent_id) is not None:
        way.append(queue.get(studio.db, parent_id))
    assert [job.engine for job in way] == ["upscale", "latent-diffusion", "latent-diffusion"]
    assert [child.id for child in queue.children(studio.db, way[2].id)] == [job.id for job in reversed(made)]
    assert np.abs(start - drawn[0]).mean() < 60


@pytest.mark.parametrize(
    ("engine", "few"), [("vqgan-clip", {"steps": 2, "cutn": 2}), ("guided-diffusion", {"steps": 4, "cutn": 2})]
)
def test_a_picture_of_one_engine_is_varied_by_another(
    studio: ChainStudio, pictures: list[Job], engine: str, few: dict[str, int]
) -> None:
    picture = studio.files(pictures[0])["picture"]
    start = np.asarray(studio.image(pictures[0]), float)
    base = {"prompt": "a red heart", "style": "noto", "upscale": 1, "seed": 3, **few}
    near, far = studio.run(*(studio.add(engine, **varied(engine, base, picture.id, rate)) for rate in (0.9, 0.0)))
    assert (near.state, far.state) == ("succeeded", "succeeded"), (near.error, far.error)
    apart = [np.abs(np.asarray(studio.image(job), float) - start).mean() for job in (near, far)]
    assert apart[0] < apart[1], "a greater skip rate keeps more of the picture"


def test_a_job_whose_picture_is_gone_says_so_and_the_others_go_on(studio: ChainStudio, pictures: list[Job]) -> None:
    there = studio.files(pictures[0])["picture"].id
    bad = studio.add("rank", prompt="a red heart", pictures=[there, "gone"])
    good = studio.add("rank", prompt="a red heart", pictures=[there, there])
    lost = studio.add("upscale", picture="gone", width=64, height=64)
    bad, good, lost = studio.run(bad, good, lost)
    for job in (bad, lost):
        assert (job.state, job.error_kind) == ("failed", "unknown_artefact")
        assert job.error == "A picture this is made from (gone) is not in the store; choose another one."
    assert good.state == "succeeded"


def test_a_picture_hidden_or_deleted_while_the_jobs_waited_is_said_in_each(studio: ChainStudio) -> None:
    hidden, deleted = studio.run(*(studio.add("latent-diffusion", **HEART, seed=seed) for seed in (31, 32)))
    queue.set_hidden(studio.db, hidden.id, True)
    studio.store.delete(studio.files(deleted)["picture"].key)
    of_hidden, of_deleted = (studio.files(job)["picture"].id for job in (hidden, deleted))
    owner = hidden.submitter
    for source, kind, said in (
        (of_hidden, "source_hidden", "A picture this is made from was taken out by the host; choose another one."),
        (of_deleted, "unknown_artefact", f"A picture this is made from ({of_deleted}) is not in the store"),
    ):
        made = studio.run(
            studio.add("upscale", owner, picture=source, width=64, height=64),
            studio.add("rank", owner, prompt="a red heart", pictures=[source, source]),
            studio.add("latent-diffusion", owner, **varied("latent-diffusion", HEART, source, 0.5), seed=1),
            studio.add("vqgan-clip", owner, prompt="a heart", init_image=source, init="image", steps=1),
        )
        assert [(job.state, job.error_kind) for job in made] == [("failed", kind)] * 4
        assert all(str(job.error).startswith(said) for job in made)
    again = studio.add("upscale", hidden.submitter, picture=of_hidden, width=64, height=64)
    queue.set_hidden(studio.db, hidden.id, False)
    (own,) = studio.run(again)
    assert own.state == "succeeded", "the host shows it again, and it is a source like any other"


@pytest.mark.parametrize(
    ("engine", "values", "says"),
    [
        ("upscale", {"width": 64, "height": 64}, "The picture is missing"),
        ("upscale", {"picture": "a", "width": 4000, "height": 4000}, "too large to be upscaled 4 times; at most 2000"),
        ("upscale", {"picture": "a", "width": 64, "height": 64, "tile": 33}, "tile = '33'.*multiple of 8"),
        ("upscale", {"picture": "a", "width": 64, "height": 64, "checkpoint": "big"}, "Choose one of: mini-upscaler"),
        ("rank", {"prompt": "", "pictures": ["a", "b"]}, "The prompt"),
        ("rank", {"prompt": "a", "pictures": ["a"]}, "pictures"),
        ("rank", {"prompt": "a", "pictures": ["a", "b"], "clip": ["judge"]}, "Unknown CLIP model 'judge'"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_queued(engine: str, values: dict, says: str) -> None:
    with pytest.raises(BadParams, match=says):
        validate_job(engine, values)


def test_the_form_and_the_command_line_offer_what_draws() -> None:
    assert "rank" not in registry.drawing_engines() and "upscale" not in registry.drawing_engines()
    with pytest.raises(registry.UnknownName, match="vqgan-clip"):
        validate("rank", {"prompt": "a", "pictures": ["a", "b"]})


class LikesRed:
    """A CLIP of two numbers: how red a picture is, and how green; every text asks for red."""

    name, resolution, network = "red", 8, None

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor([[1.0, 0.0]] * len(texts))

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(images.mean((2, 3))[:, :2] + 1e-3, dim=1)


def test_a_ranking_that_was_interrupted_ends_as_if_it_had_not_been() -> None:
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "olive": (200, 200, 0)}
    engine = Rank([LikesRed()], read_image=lambda name: Image.new("RGB", (12, 20), colours[name]))
    params = validate_job("rank", {"prompt": "red", "pictures": ["green", "olive", "red"]})
    *_, last = generate(engine, params)
    assert last.result is not None
    assert [entry["picture"] for entry in last.result["ranking"]] == ["red", "olive", "green"]
    slot, other = engine.open(params), engine.open(params)
    engine.advance([slot, other])
    file = io.BytesIO()
    torch.save(slot.state_dict(), file)
    again = engine.resume(params, torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert again.index == 1
    while not again.done:
        step, beside = engine.advance([again, other])
    assert step.result == beside.result == last.result
    with pytest.raises(ValueError, match="done cannot be advanced"):
        engine.advance([again])


def test_an_upscale_job_checks_the_picture_it_was_told_of() -> None:
    engine = Upscale(
        registry.checkpoint("mini-upscaler"), (), Host("cpu", Path(), lambda _: Image.new("RGB", (20, 12), "red"))
    )
    params = validate_job("upscale", {"picture": "a", "width": 20, "height": 12})
    (step,) = generate(engine, params)
    assert step.done and step.image is not None and step.image.shape == (3, 48, 80)
    with pytest.raises(OtherSize, match="has 20 x 12 px, not 12 x 20 px"):
        engine.open(validate_job("upscale", {"picture": "a", "width": 12, "height": 20}))


def test_the_number_of_tiles_told_before_is_the_number_made() -> None:
    engine = Upscale(
        registry.checkpoint("mini-upscaler"), (), Host("cpu", Path(), lambda _: Image.new("RGB", (70, 40), "red"))
    )
    params = validate_job("upscale", {"picture": "a", "width": 70, "height": 40, "tile": 32})
    steps = list(generate(engine, params))
    assert [step.index for step in steps] == list(range(1, params.total_steps + 1))
    assert {step.total for step in steps} == {params.total_steps}
