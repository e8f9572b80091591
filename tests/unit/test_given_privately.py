"""A picture that somebody gave is theirs: others see it only in what was made from it, whichever way they ask."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from db import artefacts, queue
from db.artefacts import Artefact, givers
from db.errors import UnknownArtefact
from db.evening import tables
from db.evening.archive import Wanted, write_evening
from db.jobs import Job
from studio import access, host
from studio import given as studio_given
from studio.compare import Axis, compare
from studio.context import Submitter
from studio.errors import BadWish
from studio.rank import rank_any
from studio.submit import Wish, ask, run_again, submit
from studio.uploads import Upload, cleaned, keep_draft, keep_one
from studio.upscale import upscale_upload
from studio.vary import vary
from tests.pages.visits import ME, SOMEBODY, Studio, picture_bytes

ANNA, BEN, HOST = Submitter(ME), Submitter(SOMEBODY), Submitter("the-host-the-host", is_host=True)
PHOTO = Upload("photo.png", picture_bytes("PNG"))
OTHER = Upload("other.jpg", picture_bytes("JPEG"))


def with_photo(visits: Studio, who: Submitter = ANNA, **values: Any) -> Job:
    """A finished drawing that starts from a photo of theirs."""
    wish = Wish("vqgan-clip", {"prompt": "my face", **values}, uploads={"init_image": [PHOTO]})
    submit(visits.opened(), who, wish)
    return visits.finish(visits.run())


def its_photo(visits: Studio, job: Job) -> Artefact:
    (picture,) = givers.given_among(visits.db, givers.named_in(job.params)).values()
    assert picture is not None
    return picture


def test_others_see_a_jobs_settings_without_the_pictures_given_with_it(visits: Studio) -> None:
    studio, job = visits.opened(), with_photo(visits)
    photo = its_photo(visits, job)
    assert photo.giver == ME
    seen = studio_given.shown(studio, BEN, [job])[job.id]
    assert seen.withheld == ("init_image",) and seen.params["init_image"] is None
    assert photo.id not in json.dumps(dict(seen.params)) and seen.params["prompt"] == "my face"
    for asker in (HOST, Submitter("key:1234567890")):
        assert studio_given.shown(studio, asker, [job])[job.id].withheld == ("init_image",)
    assert studio_given.shown(studio, ANNA, [job])[job.id].params == job.params, "whoever gave it keeps all"


def test_asked_for_again_by_somebody_else_it_is_drawn_without_it(visits: Studio) -> None:
    studio, job = visits.opened(), with_photo(visits)
    again = run_again(studio, BEN, job)
    assert again.params["init_image"] is None and again.params["init"] != "image"
    assert its_photo(visits, job).id not in json.dumps(again.params)
    own = run_again(studio, ANNA, job)
    assert own.params["init_image"] == job.params["init_image"]


def test_variations_by_somebody_else_start_from_the_finished_picture_alone(visits: Studio) -> None:
    studio = visits.opened()
    submit(studio, ANNA, Wish("vqgan-clip", {"prompt": "my face"}, uploads={"image_prompts": [PHOTO]}))
    job = visits.finish(visits.run())
    photo, picture = its_photo(visits, job), artefacts.of_job(visits.db, job.id)["picture"]
    sheet = vary(studio, BEN, job, picture, engine=job.engine, count=2, skip_rate=0.5)
    for one in queue.children(visits.db, job.id):
        assert photo.id not in json.dumps(one.params) and one.params["init_image"] == picture.id
    assert sheet.kind == "variations"
    vary(studio, ANNA, job, picture, engine=job.engine, count=1, skip_rate=0.5)
    newest = queue.children(visits.db, job.id)[0]
    assert photo.id in json.dumps(newest.params), "and by whoever gave it they resemble it as before"


@pytest.mark.parametrize("reference", ["key", "id", "shouted"])
def test_a_key_that_was_guessed_or_read_does_nothing_for_anybody_else(visits: Studio, reference: str) -> None:
    studio, job = visits.opened(), with_photo(visits)
    photo = its_photo(visits, job)
    named = {"key": photo.key, "id": photo.id, "shouted": photo.key.replace("uploads", "Uploads")}[reference]
    asked = queue.counts(visits.db)
    starting = {"prompt": "mine now", "init_image": named, "init": "image"}
    ways = {
        "a wish": lambda: submit(studio, BEN, Wish("vqgan-clip", starting)),
        "to resemble": lambda: submit(
            studio, BEN, Wish("vqgan-clip", {"prompt": "x", "image_prompts": f"{named}:-0.5"})
        ),
        "a comparison": lambda: compare(studio, BEN, "vqgan-clip", starting, Axis("steps", ("10", "20")), None),
        "upscaled": lambda: ask(studio, BEN, "upscale", {"picture": named, "width": 48, "height": 32}),
        "ranked": lambda: rank_any(studio, BEN, [named, named], prompt="x", clip=("mini",)),
        "shown": lambda: access.source(studio, BEN, named),
        "checked": lambda: access.check_source(studio, BEN, named),
    }
    for name, way in ways.items():
        with pytest.raises(UnknownArtefact, match="not here, or somebody else gave it"):
            way()
            pytest.fail(name)
    with pytest.raises(UnknownArtefact):
        access.artefact(studio, BEN, photo.id)
    assert queue.counts(visits.db) == asked, "and nothing is queued"
    with pytest.raises(UnknownArtefact, match="not here, or somebody else gave it"):
        access.check_source(studio, BEN, photo.key.replace(photo.id, "0" * 26)), "as where there is none"
    if reference != "shouted":
        assert access.source(studio, ANNA, named) and submit(studio, ANNA, Wish("vqgan-clip", starting))


def test_a_picture_kept_before_it_was_noted_whose_it_is_is_that_of_who_first_used_it(visits: Studio) -> None:
    studio = visits.opened()
    old = artefacts.save(
        visits.db, visits.store, job_id=None, kind="upload", data=PHOTO.data, media_type="image/png", ext="png"
    )
    with pytest.raises(UnknownArtefact):
        access.check_source(studio, BEN, old.key)
    visits.enqueue("my face", ME, init_image=old.key, init="image")
    visits.enqueue("stolen", SOMEBODY, init_image=old.key, init="image")
    access.check_source(studio, ANNA, old.id)
    for name in (old.id, old.key):
        with pytest.raises(UnknownArtefact):
            access.check_source(studio, BEN, name)


def test_what_is_taken_home_names_no_picture_that_was_given(visits: Studio, tmp_path: Path) -> None:
    job = with_photo(visits)
    photo = its_photo(visits, job)
    write_evening(visits.db, visits.store, tmp_path / "e.zip", Wanted(title="x"))
    with zipfile.ZipFile(tmp_path / "e.zip") as archive:
        for name in ("index.html", "pictures.json"):
            assert photo.id not in archive.read(name).decode() and "my face" in archive.read(name).decode()
    (row,) = tables.jobs(visits.db)
    assert photo.id not in json.dumps(row["params"])


def test_nothing_but_the_picture_says_so_in_one_sentence(visits: Studio) -> None:
    studio = visits.opened()
    submit(studio, ANNA, Wish("vqgan-clip", {"prompt": ""}, uploads={"image_prompts": [PHOTO]}))
    job = visits.finish(visits.run())
    with pytest.raises(BadWish, match="without the picture that somebody else gave"):
        run_again(studio, BEN, job)


def test_a_given_picture_made_larger_is_shown_to_nobody_else(visits: Studio) -> None:
    studio = visits.opened()
    asked = upscale_upload(studio, ANNA, cleaned(studio, PHOTO), checkpoint="mini-upscaler")
    job = visits.upscale(queue.get(visits.db, asked.id))
    picture = artefacts.of_job(visits.db, job.id)["picture"]
    assert access.file(studio, ANNA, picture) and access.job(studio, ANNA, job.id)
    with pytest.raises(Exception, match="no job"):
        access.file(studio, BEN, picture)
    with pytest.raises(UnknownArtefact):
        access.artefact(studio, BEN, picture.id)
    assert access.jobs(studio, BEN) == []
    with pytest.raises(Exception, match="nobody else is shown it"):
        host.unhide(studio, HOST, job.id)


def test_a_visitor_lists_what_they_gave_and_programs_at_one_address_do_not(visits: Studio) -> None:
    studio, shared = visits.opened(), Submitter("address:0123456789abcdef01234567")
    photo, draft = keep_one(studio, ANNA, PHOTO), keep_draft(studio, ANNA, OTHER)
    keep_one(studio, BEN, OTHER), keep_one(studio, shared, PHOTO)
    assert [one.id for one in studio_given.listed(studio, ANNA)] == [draft.id, photo.id]
    assert studio_given.listed(studio, shared) == []
    assert access.artefact(studio, ANNA, photo.id) == photo == access.artefact(studio, HOST, photo.id)


def test_the_first_picture_of_a_drawing_that_starts_from_one_is_not_kept_for_others(tmp_path: Path) -> None:
    import torch

    from executor.outputs import Files
    from generator.engines.base import Step
    from generator.output.sources import NONE
    from generator.params import validate

    for given_one, kept in (("uploads/x.png", [2]), (None, [1, 2])):
        values = {"prompt": "x", "steps": 2, "width": 64, "height": 64, "save_every": 1, "upscale": 1}
        params = validate("vqgan-clip", {**values, "init_image": given_one} if given_one else values)
        files = Files("vqgan-clip", params, NONE, tmp_path / str(given_one is None), lambda key: b"")
        for index in (1, 2):
            step = Step(index=index, total=2, image=torch.zeros(3, 64, 64), score=0.0, losses={}, done=index == 2)
            if files.shows(step):
                files.frame(index, step.image, lambda event, error: None)
        assert files._recorder is not None and files._recorder.steps == kept


def test_text_is_not_taken_for_a_picture() -> None:
    params = {"prompt": "uploads/" + "0" * 26 + ".png", "init_image": None, "image_prompts": "", "pictures": ()}
    assert givers.named_in(params) == []
    name = "jobs/" + "1" * 26 + "/picture.png"
    mixed = {"image_prompts": f"uploads/{'0' * 26}.png:0.5 | {name}:-1", "init_image": name}
    assert givers.named_in(mixed) == [name, f"uploads/{'0' * 26}.png"]
    left, changed = givers.without(mixed, [f"uploads/{'0' * 26}.png"])
    assert left == {"image_prompts": f"{name}:-1", "init_image": name} and changed == ("image_prompts",)
