"""Boards and favourites: what a visitor keeps together, theirs alone; and the gallery narrowed down and in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db import boards, queue
from db.artefacts import Store
from db.errors import BadValue, BoardTaken, UnknownBoard, UnknownJob
from db.evening.deleting import delete_job
from db.jobs import Job, State
from settings import Settings
from studio import gallery
from studio.context import Studio, Submitter
from studio.gallery import Look
from tests.contract.queue_steps import add

ADA, BOB = Submitter("ada"), Submitter("bob")


@pytest.fixture
def studio(database: sa.Engine, tmp_path: Path) -> Studio:
    return Studio(Settings(), database, Store(f"file://{tmp_path}/store"))


def finished(db: sa.Engine, score: float | None = None, **fields: Any) -> Job:
    job = add(db, **fields)
    table = sa.table("jobs", sa.column("id"), sa.column("state"), sa.column("score"))
    with db.begin() as conn:
        conn.execute(sa.update(table).where(table.c.id == job.id).values(state=State.SUCCEEDED, score=score))
    return queue.get(db, job.id)


@pytest.fixture
def shown(studio: Studio) -> Callable[..., list[str]]:
    def _shown(submitter: Submitter = ADA, rated: tuple[str, ...] = (), **look: Any) -> list[str]:
        return [job.id for job in gallery.page(studio, submitter, Look(**look), rated).jobs]

    return _shown


def test_favourites_and_boards_are_ones_own(studio: Studio, shown: Callable[..., list[str]]) -> None:
    first, second, third = (finished(studio.db) for _ in range(3))
    gallery.keep(studio, ADA, [first.id, third.id])
    gallery.keep(studio, ADA, [third.id], "for  the poster ")
    gallery.keep(studio, ADA, [third.id], "for the poster")
    gallery.keep(studio, BOB, [second.id])
    assert gallery.boards_of(studio, ADA) == {"": 2, "for the poster": 1}
    assert gallery.boards_of(studio, Submitter("eve")) == {"": 0}
    assert gallery.on_boards(studio, ADA, [second.id, third.id]) == {second.id: set(), third.id: {"", "for the poster"}}
    assert shown(board="") == [third.id, first.id] and shown(BOB, board="") == [second.id]
    assert shown(board="for the poster") == [third.id] and shown(BOB, board="for the poster") == []
    gallery.take_away(studio, ADA, [third.id])
    assert shown(board="") == [first.id] and shown(board="for the poster") == [third.id]
    gallery.take_board(studio, ADA, "for the poster")
    assert gallery.boards_of(studio, ADA) == {"": 1} and len(shown()) == 3


def test_a_board_gets_another_name_unless_it_is_taken(studio: Studio, shown: Callable[..., list[str]]) -> None:
    job, other = finished(studio.db), finished(studio.db)
    gallery.keep(studio, ADA, [job.id, other.id], "one")
    gallery.keep(studio, ADA, [job.id], "two")
    gallery.keep(studio, BOB, [job.id], "three")
    gallery.rename_board(studio, ADA, "one", "three")
    assert gallery.boards_of(studio, ADA) == {"": 0, "three": 2, "two": 1} and shown(board="three") == [
        other.id,
        job.id,
    ]
    assert gallery.boards_of(studio, BOB) == {"": 0, "three": 1}
    gallery.rename_board(studio, ADA, "two", " two ")
    with pytest.raises(BoardTaken):
        gallery.rename_board(studio, ADA, "two", "three")
    with pytest.raises(UnknownBoard):
        gallery.rename_board(studio, ADA, "one", "four")
    for name, new in (("", "four"), ("two", ""), ("two", "x" * 41)):
        with pytest.raises(BadValue):
            gallery.rename_board(studio, ADA, name, new)
    assert gallery.boards_of(studio, ADA) == {"": 0, "three": 2, "two": 1}


def test_what_is_hidden_or_deleted_is_on_no_board(studio: Studio, shown: Callable[..., list[str]]) -> None:
    first, second = finished(studio.db), finished(studio.db)
    gallery.keep(studio, ADA, [first.id, second.id])
    queue.set_hidden(studio.db, first.id, True)
    assert shown(board="") == [second.id] and gallery.boards_of(studio, ADA) == {"": 1}
    delete_job(studio.db, studio.store, second.id)
    assert shown(board="") == [] and gallery.boards_of(studio, ADA) == {"": 0}
    for job_id in (first.id, second.id, "nobody's"):
        with pytest.raises(UnknownJob):
            gallery.keep(studio, ADA, [job_id])


def test_a_board_has_a_name_of_some_letters_and_there_are_not_endlessly_many(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = finished(studio.db)
    with pytest.raises(BadValue, match="1 to 40"):
        gallery.keep(studio, ADA, [job.id], "x" * 41)
    monkeypatch.setattr(boards, "MAX_BOARDS", 2)
    for name in ("one", "two"):
        gallery.keep(studio, ADA, [job.id], name)
    with pytest.raises(BadValue, match="2 boards"):
        gallery.keep(studio, ADA, [job.id], "three")
    gallery.keep(studio, ADA, [finished(studio.db).id], "one")
    monkeypatch.setattr(boards, "MAX_PICTURES", 4)
    gallery.keep(studio, ADA, [job.id])
    with pytest.raises(BadValue, match="at most 4"):
        gallery.keep(studio, ADA, [finished(studio.db).id])


def test_the_gallery_is_ordered_by_age_score_or_votes(studio: Studio, shown: Callable[..., list[str]]) -> None:
    low, high, none = (finished(studio.db, score) for score in (0.2, 0.4, None))
    assert shown() == [none.id, high.id, low.id]
    assert shown(order="score") == [high.id, low.id]
    assert shown(order="best", rated=(low.id, "gone", high.id)) == [low.id, high.id]
    queue.set_hidden(studio.db, low.id, True)
    assert shown(order="best", rated=(low.id, high.id)) == [high.id]


def test_the_gallery_is_narrowed_by_any_setting_and_by_time(studio: Studio, shown: Callable[..., list[str]]) -> None:
    params = {"steps": 24, "style": "emoji", "clip": ["ViT-B/32"], "tv": 0.5, "gif": True}
    one = finished(studio.db, params=params)
    other = finished(studio.db, params={"steps": 240, "style": "photo", "clip": ["mini"], "tv": 5.0, "gif": False})
    for setting in (("steps", "24"), ("style", "emoji"), ("clip", "ViT-B/32"), ("tv", "0.50"), ("gif", "on")):
        assert shown(settings=(setting,)) == [one.id], setting
    assert shown(settings=(("gif", "off"),)) == [other.id]
    assert shown(settings=(("steps", "24"), ("style", "photo"))) == [] and shown(settings=(("nothing", "1"),)) == []
    long = finished(studio.db, params={"style": "x" * 200})
    assert shown(settings=(("style", "x" * 200),)) == [long.id]
    delete_job(studio.db, studio.store, long.id)
    with studio.db.connect() as conn:
        assert "emoji" in conn.scalars(sa.text("SELECT style FROM jobs")).all()
    delete_job(studio.db, studio.store, finished(studio.db, params={"style": "secret"}).id)
    with studio.db.connect() as conn:
        assert "secret" not in conn.scalars(sa.text("SELECT style FROM jobs")).all(), "it may be words of a visitor"
    assert shown(since=one.created_at - 1, until=other.created_at + 1) == [other.id, one.id]
    assert shown(until=one.created_at) == []


@pytest.mark.parametrize("order", ["newest", "score", "best"])
def test_pages_follow_each_other_while_new_pictures_come(
    studio: Studio, shown: Callable[..., list[str]], order: str
) -> None:
    made = [finished(studio.db, n / 100 if order == "newest" else -n / 100).id for n in range(gallery.PAGE + 3)]
    made = made if order == "newest" else made[::-1]  # else the oldest is the best
    rated = tuple(reversed(made))
    first = gallery.page(studio, ADA, Look(order=order), rated)  # type: ignore[arg-type]
    assert first.more and len(first.jobs) == gallery.PAGE
    finished(studio.db, 1.0)
    second = gallery.page(studio, ADA, Look(order=order, page=2, from_id=first.next), rated)  # type: ignore[arg-type]
    assert [job.id for job in [*first.jobs, *second.jobs]] == list(reversed(made)) and not second.more
