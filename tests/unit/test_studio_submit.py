"""What a visitor may ask for, whoever passes it on: within the limits, of the host's engines, their own jobs alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from db import artefacts, queue
from db.errors import Banned, EngineWithheld, NotYours, TooManyQueued, UnknownJob, WordRefused
from db.jobs import State
from db.queue import Limits
from db.rules import host_rules
from db.sheets import submissions
from generator.params import BadParams
from studio import host, models
from studio.compare import Axis, compare
from studio.context import Submitter
from studio.errors import SENTENCES, BadWish, DownloadsOff
from studio.limits import first_choice, in_force, offered_engines
from studio.names import name_of, set_name
from studio.submit import Wish, cancel, run_again, submit
from studio.uploads import MAX_IMAGE_PROMPTS, MAX_SIDE, Upload
from tests.pages.visits import ME, SOMEBODY, Studio, picture_bytes

ANNA, BEN, HOST = Submitter(ME), Submitter(SOMEBODY), Submitter("the-host-the-host", is_host=True)
HEART = {"prompt": "a red heart", "seed": None}


def test_a_visitor_beyond_the_limit_is_refused_whole_and_told_the_limit(visits: Studio) -> None:
    studio = visits.opened(max_queued_per_submitter=2)
    with pytest.raises(TooManyQueued, match="These 3 jobs were not queued") as refused:
        submit(studio, ANNA, Wish("vqgan-clip", HEART, pictures=3))
    assert isinstance(refused.value, SENTENCES) and not queue.list_jobs(visits.db)
    assert len(submit(studio, ANNA, Wish("vqgan-clip", HEART, pictures=2))) == 2
    with pytest.raises(TooManyQueued, match="wait or cancel one"):
        submit(studio, ANNA, Wish("vqgan-clip", HEART))
    assert submit(studio, BEN, Wish("vqgan-clip", HEART)), "everybody has their own limit"


def test_pictures_of_one_wish_follow_its_seed_and_differ_in_draft_and_pose(visits: Studio) -> None:
    studio = visits.opened()
    jobs = submit(studio, ANNA, Wish("vqgan-clip", {**HEART, "style": "blob", "seed": 2**32 - 1}, pictures=3))
    assert [job.params.pop("seed") for job in jobs] == [2**32 - 1, 0, 1]
    assert [job.params.pop("variant", 0) for job in jobs] == [0, 1, 2]
    assert jobs[0].params == jobs[1].params == jobs[2].params
    assert len({job.params["seed"] for job in submit(studio, ANNA, Wish("vqgan-clip", HEART, pictures=3))}) == 3
    with pytest.raises(BadParams, match="seed = '-1'"):
        submit(studio, ANNA, Wish("vqgan-clip", {**HEART, "seed": -1}, pictures=3))


@pytest.mark.parametrize("engine", ["vqgan-clip", "latent-diffusion", "guided-diffusion"])
def test_pictures_of_one_wish_have_a_style_each_where_none_was_asked_for(visits: Studio, engine: str) -> None:
    studio = visits.opened()
    for style in ({}, {"style": None}):
        jobs = submit(studio, ANNA, Wish(engine, {**HEART, **style}, pictures=4))
        assert len({job.params["style"] for job in jobs}) == 4 and jobs[0].params["style"] == "noto"
    named = {"prompt": "a silhouette of a red heart", "seed": None}
    jobs = submit(studio, ANNA, Wish(engine, named, pictures=2))
    assert {job.params["style"] for job in jobs} == {"silhouette"}
    (alone,) = submit(studio, ANNA, Wish(engine, HEART))
    assert alone.params["style"] == "noto" and "variant" not in alone.params


@pytest.mark.parametrize("pictures", [-3, 0, 9, 10**9])
def test_so_many_pictures_are_refused_before_anything_is_made(visits: Studio, pictures: int) -> None:
    with pytest.raises(BadParams, match=f"{pictures} pictures; 1 to 8 are allowed"):
        submit(visits.opened(), ANNA, Wish("vqgan-clip", HEART, pictures=pictures))


@pytest.mark.parametrize(
    ("sent", "sentence"), [({"init_image": 2}, "2 pictures for init_image"), ({"prompt": 1}, "prompt takes no picture")]
)
def test_a_picture_that_no_setting_takes_is_not_kept(visits: Studio, sent: dict[str, int], sentence: str) -> None:
    uploads = {name: [Upload("a.png", picture_bytes("PNG"))] * count for name, count in sent.items()}
    with pytest.raises(BadParams, match=sentence):
        submit(visits.opened(), ANNA, Wish("vqgan-clip", HEART, 1, uploads))
    assert not queue.list_jobs(visits.db)


def test_the_hosts_limits_come_before_the_configured_ones(visits: Studio) -> None:
    studio = visits.opened(max_queued_per_submitter=50, max_queued_per_address=None, max_queued=None)
    assert in_force(studio, ANNA) == Limits(50, None, 1800)
    host.set_limits(studio, HOST, max_queued=1, max_per_hour=7)
    assert in_force(studio, ANNA) == Limits(1, 7, 1800)
    submit(studio, ANNA, Wish("vqgan-clip", HEART))
    with pytest.raises(TooManyQueued):
        submit(studio, ANNA, Wish("vqgan-clip", HEART))


def test_what_the_host_withholds_is_neither_offered_nor_drawn(visits: Studio) -> None:
    studio = visits.opened()
    host.set_engines(studio, HOST, ["latent-diffusion", "rank"], "latent-diffusion", "mini-latent-diffusion")
    assert offered_engines(studio) == ["latent-diffusion"]
    assert first_choice(studio) == ("latent-diffusion", "mini-latent-diffusion")
    with pytest.raises(EngineWithheld, match="choose another"):
        submit(studio, ANNA, Wish("vqgan-clip", HEART))


def test_somebody_elses_job_cannot_be_cancelled(visits: Studio) -> None:
    studio, job = visits.opened(), visits.enqueue("a red heart")
    with pytest.raises(NotYours, match="submitted by somebody else"):
        cancel(studio, BEN, job.id)
    with pytest.raises(UnknownJob):
        cancel(studio, ANNA, "guessed")
    assert queue.get(visits.db, job.id).state == State.QUEUED
    assert cancel(studio, ANNA, job.id).state == State.CANCELLED


def test_a_banned_visitor_leaves_nothing_behind(visits: Studio) -> None:
    studio = visits.opened()
    visits.enqueue("a red heart")
    host.ban(studio, HOST, ANNA.id)
    picture = Upload("me.png", picture_bytes("PNG"))
    with pytest.raises(Banned):
        submit(studio, ANNA, Wish("vqgan-clip", HEART, uploads={"init_image": [picture]}))
    with pytest.raises(Banned):
        set_name(studio, ANNA, "Ada")
    assert len(queue.list_jobs(visits.db)) == 1


def test_a_picture_sent_along_is_made_clean_and_started_from(visits: Studio) -> None:
    sent = [Upload(f"{n}.jpg", picture_bytes("JPEG")) for n in range(MAX_IMAGE_PROMPTS)]
    uploads = {"init_image": sent[:1], "image_prompts": sent[:2], "mask_image": []}
    wish = Wish("vqgan-clip", {**HEART, "init": "random"}, uploads=uploads)
    (job,) = submit(visits.opened(), ANNA, wish)
    assert job.params["init"] == "image" and len(job.params["image_prompts"].split(" | ")) == 2
    assert visits.store.get(job.params["init_image"]).startswith(b"\x89PNG") and MAX_SIDE >= 48


@pytest.mark.parametrize(
    ("values", "count", "data", "sentence"),
    [
        ({}, 1, b"<svg onload=alert(1)>", "'it.png': "),
        ({}, MAX_IMAGE_PROMPTS + 1, None, "5 pictures to resemble; at most 4 are allowed."),
        ({"width": 4096}, 1, None, "too large for mini"),
    ],
)
def test_a_refused_wish_leaves_no_files(
    visits: Studio, values: dict[str, int], count: int, data: bytes | None, sentence: str
) -> None:
    upload = Upload("it.png", picture_bytes("PNG") if data is None else data)
    with pytest.raises(BadParams, match=sentence):
        wish = Wish("vqgan-clip", {**HEART, **values}, uploads={"image_prompts": [upload] * count})
        submit(visits.opened(), ANNA, wish)
    assert not queue.list_jobs(visits.db)
    assert artefacts.of_job(visits.db, "none") == {} and not visits.store.exists("uploads")


def test_a_checkpoint_is_downloaded_once_and_only_where_the_host_allows_it(visits: Studio) -> None:
    with pytest.raises(DownloadsOff, match="T2I_DOWNLOADS"):
        models.fetch(visits.opened(), ANNA, "RN50")
    studio = visits.opened(downloads=True)
    assert models.fetch(studio, ANNA, "RN50") and models.fetch(studio, BEN, "RN50") is None
    assert [job.engine for job in models.under_way(studio)] == ["download"]


def test_a_name_is_a_visitors_own_and_may_hold_no_refused_word(visits: Studio) -> None:
    studio = visits.opened()
    assert set_name(studio, ANNA, " Ada ") == "Ada" == name_of(studio, ANNA) and name_of(studio, BEN) is None
    host_rules.change(visits.db, refused_words=["gore"])
    with pytest.raises(SENTENCES, match="does not allow"):
        set_name(studio, ANNA, "G o r e")


def test_a_refusal_is_a_whole_sentence_and_its_parts() -> None:
    refused = BadWish("{count} candidates; 2 to {most} are allowed.", count=9, most=8)
    assert str(refused) == "9 candidates; 2 to 8 are allowed." and refused.values == {"count": 9, "most": 8}
    assert isinstance(refused, BadParams) and str(BadWish("No {braces}.")) == "No {braces}."


def test_pictures_of_one_wish_each_draw_their_choices_and_repeat_what_they_drew(visits: Studio, tmp_path: Path) -> None:
    (tmp_path / "animal.txt").write_text("cat\ndog\nfox\nowl\nbat\nant\n")
    studio = visits.opened(wildcards_dir=tmp_path)
    typed = "a {red|green|blue} __animal__"
    jobs = submit(studio, ANNA, Wish("vqgan-clip", {"prompt": typed, "seed": 5}, pictures=4))
    assert len({job.prompt for job in jobs}) > 1
    for job in jobs:
        said = job.params["wording"]["prompt"]
        assert said["typed"] == typed and said["became"] == job.prompt == job.params["prompt"]
        (alone,) = submit(studio, BEN, Wish("vqgan-clip", {"prompt": typed, "seed": job.params["seed"]}))
        assert alone.prompt == job.prompt, "the same seed draws the same"
        (again,) = submit(studio, BEN, Wish("vqgan-clip", {**job.params, "seed": None}))
        assert again.prompt == run_again(studio, BEN, job).prompt == job.prompt
    sheet = compare(studio, BEN, "vqgan-clip", {"prompt": typed, "seed": 5}, Axis("cutn", ("2", "4")), None)
    members = submissions.jobs_of(visits.db, sheet.id)
    assert {member.job.prompt for member in members} == {jobs[0].prompt}


def test_what_was_typed_is_held_to_the_hosts_words_as_well(visits: Studio) -> None:
    studio = visits.opened()
    host.set_words(studio, HOST, "gnome")
    for seed in range(4):
        with pytest.raises(WordRefused):
            submit(studio, ANNA, Wish("vqgan-clip", {"prompt": "a {cat|dog|gnome}", "seed": seed}))


def test_a_prompt_too_long_is_refused_before_it_is_queued(visits: Studio) -> None:
    wish = Wish("latent-diffusion", {"prompt": "a cat", "negative_prompt": "word " * 75 + "pear", "seed": 1})
    with pytest.raises(BadParams, match=r"The negative prompt has 76 tokens, 75 fit.*“pear”"):
        submit(visits.opened(), ANNA, wish)
    assert not queue.list_jobs(visits.db)
