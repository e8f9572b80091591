"""What the host has hidden is not found by its id, its file, its sheet or its refinement, except by the host."""

from __future__ import annotations

import io
import zipfile

import pytest
from PIL import Image

from db import artefacts, queue
from db.errors import SourceHidden, UnknownArtefact, UnknownJob, UnknownRefinement, UnknownSubmission
from db.sheets import submissions
from studio import access, refine, sheets, vote
from studio.context import Submitter
from studio.errors import NotHost
from studio.submit import Wish, run_again, submit
from tests.pages.visits import ME, SOMEBODY, Studio

ANNA, BEN, HOST = Submitter(ME), Submitter(SOMEBODY), Submitter("the-host-the-host", is_host=True)


def test_a_hidden_picture_is_not_found_except_by_the_host(visits: Studio) -> None:
    studio, drawn = visits.opened(), visits.draw("a red heart")
    child = visits.draw("its child", parent_id=drawn.id)
    picture = artefacts.of_job(visits.db, drawn.id)["picture"]
    assert access.file(studio, BEN, picture) == visits.store.get(picture.key)
    assert access.made_from(studio, BEN, child) == drawn
    queue.set_hidden(visits.db, drawn.id)
    for visitor in (ANNA, BEN):
        with pytest.raises(UnknownJob):
            access.job(studio, visitor, drawn.id)
        with pytest.raises(UnknownJob):
            access.file(studio, visitor, picture)
        with pytest.raises(UnknownArtefact):
            access.artefact(studio, visitor, picture.id)
        assert access.made_from(studio, visitor, child) is None
        assert [job.id for job in access.jobs(studio, visitor)] == [child.id]
        with pytest.raises(NotHost):
            access.jobs(studio, visitor, include_hidden=True)
    assert access.job(studio, HOST, drawn.id).hidden and access.artefact(studio, HOST, picture.id) == picture
    assert [job.id for job in access.jobs(studio, HOST, only_hidden=True)] == [drawn.id]
    for reference in (picture.id, picture.key):
        with pytest.raises(SourceHidden):
            access.source(studio, ANNA, reference)
    with pytest.raises(SourceHidden):
        run_again(studio, ANNA, drawn)


def test_ones_own_jobs_are_found_among_all(visits: Studio) -> None:
    studio = visits.opened()
    mine, theirs = visits.enqueue("a red heart"), visits.enqueue("a blue car", SOMEBODY)
    assert [job.id for job in access.jobs(studio, ANNA, mine=True)] == [mine.id]
    assert access.owns(BEN, theirs) and not access.owns(BEN, mine) and not access.owns(HOST, mine)


def test_a_sheet_shows_and_packs_what_may_be_seen(visits: Studio) -> None:
    studio = visits.opened()
    jobs = submit(studio, ANNA, Wish("vqgan-clip", {"prompt": "a red heart", "seed": None}, pictures=2))
    for _ in jobs:
        visits.finish(visits.run())
    ((sheet, ids),) = sheets.own_sheets(studio, ANNA, limit=9)
    assert ids == [job.id for job in jobs] and not sheets.own_sheets(studio, BEN, limit=9)
    both = dict.fromkeys(ids, "score 0.4")
    wide = Image.open(io.BytesIO(sheets.as_png(studio, BEN, sheet.id, both))).width
    queue.set_hidden(visits.db, ids[0])
    assert Image.open(io.BytesIO(sheets.as_png(studio, BEN, sheet.id, both))).width < wide
    assert Image.open(io.BytesIO(sheets.as_film(studio, BEN, sheet.id, both))).format == "GIF"
    assert [m.job.id for m in sheets.pictures_of(HOST, submissions.jobs_of(visits.db, sheet.id))] == ids
    queue.set_hidden(visits.db, ids[1])
    with pytest.raises(UnknownSubmission):
        sheets.sheet(studio, ANNA, sheet.id)
    assert not sheets.own_sheets(studio, ANNA, limit=9) and sheets.sheet(studio, HOST, sheet.id)


def test_a_refinement_of_hidden_pictures_is_not_found(visits: Studio) -> None:
    studio = visits.opened()
    begun = refine.begin(
        studio, ANNA, prompt="a red heart", engine="vqgan-clip", checkpoint="mini", style=None, count=2
    )
    jobs = [visits.finish(visits.run()) for _ in range(2)]
    (row,) = (stage for stage, _ in refine.refinement(studio, BEN, begun.id)[1])
    marked = [(job, artefacts.of_job(visits.db, job.id)["picture"]) for job in jobs]
    for job in jobs:
        refine.mark(studio, begun.id, job.id, True)
    assert len(refine.row_of(studio, begun, row)) == 3, "the two, and their ranking"
    queue.set_hidden(visits.db, jobs[0].id)
    names = {who: zipfile.ZipFile(io.BytesIO(refine.packed(studio, who, marked))).namelist() for who in (BEN, HOST)}
    first, second = (f"a-red-heart_vqgan-clip_seed{job.params['seed']}.png" for job in jobs)
    assert names == {BEN: [f"1_{second}"], HOST: [f"1_{first}", f"2_{second}"]}
    queue.set_hidden(visits.db, jobs[1].id)
    with pytest.raises(UnknownRefinement):
        refine.refinement(studio, ANNA, begun.id)
    assert not refine.own_refinements(studio, ANNA, limit=9) and refine.refinement(studio, HOST, begun.id)


def test_a_pair_is_dealt_once_to_each_voter(visits: Studio) -> None:
    studio = visits.opened()
    visits.draw("a red heart"), visits.draw("a red heart", SOMEBODY)
    dealer = vote.Dealer()
    pair = dealer.next_pair(studio, ANNA)
    assert pair is not None
    vote.cast(studio, ANNA, pair[0].id, pair[1].id, "left")
    assert dealer.next_pair(studio, ANNA) is None and vote.given(studio, ANNA) == 1
    assert dealer.next_pair(studio, BEN) is not None and vote.given(studio, BEN) == 0
