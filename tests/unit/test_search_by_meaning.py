"""Words find the picture that shows them: the real embedded CLIP, in an executor's own thread, on pictures of emoji."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from db import artefacts, queue
from db.errors import UnknownJob
from db.jobs import Job
from db.queue import Narrowed
from executor import sight
from executor.context import Context
from executor.sight import Sight
from executor.stall import Watch
from generator.checkpoints.clip_space import clip_space
from generator.registry import UnknownName
from settings import Settings
from studio.context import Submitter
from studio.errors import BadWish, NotHost
from studio.search import Found, Query, SearchOff, search
from tests.pages.visits import ME, SOMEBODY, Studio

ANNA, BEN = Submitter(ME), Submitter(SOMEBODY)
WAIT_S = 60.0


def heart(colour: str) -> bytes:
    """A heart as emoji are, on white."""
    image = Image.new("RGB", (96, 96), "white")
    draw = ImageDraw.Draw(image)
    for box in ((10, 14, 50, 54), (46, 14, 86, 54)):
        draw.ellipse(box, fill=colour)
    draw.polygon([(13, 42), (83, 42), (48, 86)], fill=colour)
    return _png(image)


def star() -> bytes:
    image = Image.new("RGB", (96, 96), "white")
    points = [(48, 6), (59, 36), (91, 37), (66, 56), (75, 88), (48, 69), (21, 88), (30, 56), (5, 37), (37, 36)]
    ImageDraw.Draw(image).polygon(points, fill="gold")
    return _png(image)


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def put(visits: Studio, prompt: str, png: bytes, submitter: str = ME) -> Job:
    """A finished job with this picture; no executor has looked at it."""
    visits.enqueue(prompt, submitter)
    job = visits.run()
    held = {"media_type": "image/png", "ext": "png", "width": 96, "height": 96}
    artefacts.save(visits.db, visits.store, job_id=job.id, kind="picture", data=png, **held)  # type: ignore[arg-type]
    return queue.succeed(visits.db, worker_id="executor-1", job_id=job.id, score=0.5)


Start = Callable[..., Sight]


@pytest.fixture
def start(visits: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts what looks at pictures in an executor, and does for it what the main loop does between two steps."""
    monkeypatch.setattr(sight, "LOOK_S", 0.01)
    ended, looking = threading.Event(), list[Sight]()

    def begin(idle: bool = True, **settings: object) -> Sight:
        log = logging.getLogger("sight-test")
        context = Context("w1", visits.db, visits.store, Settings(**settings), tmp_path / "work", log)  # type: ignore[arg-type]
        one, watch = Sight(context, lambda: idle), Watch(context, list, 0.0)
        one.start()
        visits.start_executor()

        def steps() -> None:
            while not ended.wait(0.01):
                one.load(watch)

        threading.Thread(target=steps, daemon=True).start()
        looking.append(one)
        return one

    yield begin
    ended.set()
    for one in looking:
        one.end()


def ids(found: Found) -> list[str]:
    return [job.id for job in found.jobs]


def all_seen(visits: Studio) -> None:
    until = threading.Event()
    for _ in range(int(WAIT_S / 0.02)):
        if not search(visits.opened(), ANNA, Query(words="red heart"), wait_s=WAIT_S).unseen:
            return
        until.wait(0.02)
    raise AssertionError("not all pictures were looked at")


def test_words_pictures_and_jobs_find_what_is_like_them(visits: Studio, start: Start) -> None:
    studio = visits.opened()
    red, blue = put(visits, "one", heart("red")), put(visits, "two", heart("royalblue"), SOMEBODY)
    gold, hidden = put(visits, "three", star()), put(visits, "four", star())
    queue.set_hidden(visits.db, hidden.id)
    start()
    all_seen(visits)
    for words, job in (("a red heart", red), ("a star", gold), ("❤️", red), ("bihotz urdina", blue), ("⭐", gold)):
        found = search(studio, ANNA, Query(words=words), wait_s=WAIT_S)
        assert ids(found)[0] == job.id and len(found.jobs) == 3, f"{words}: {[job.prompt for job in found.jobs]}"
        assert found.scores == sorted(found.scores, reverse=True) and found.waits is None and not found.notices
    assert ids(search(studio, ANNA, Query(words="red heart"), mine=True))[0] == red.id
    assert blue.id not in ids(search(studio, ANNA, Query(words="red heart"), mine=True))
    by_score = Narrowed(by_score=True, skip=2)  # as the gallery may be set: here the order is the search's own
    assert ids(search(studio, ANNA, Query(words="red heart"), narrowed=by_score))[0] == red.id
    page = search(studio, ANNA, Query(words="red heart"), limit=2)
    rest = search(studio, ANNA, Query(words="red heart"), limit=2, after=page.after)
    assert sorted(ids(page) + ids(rest)) == sorted([red.id, blue.id, gold.id]) and rest.after is None
    assert ids(search(studio, ANNA, Query(like=red.id))) == [blue.id, gold.id]
    as_picture = search(studio, ANNA, Query(picture=star()), wait_s=WAIT_S)
    assert ids(as_picture)[0] == gold.id and as_picture.scores[0] == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(UnknownJob):
        search(studio, BEN, Query(like=hidden.id))
    with pytest.raises(NotHost):
        search(studio, BEN, Query(words="a star"), include_hidden=True)
    host = Submitter("the-host-the-host", is_host=True)
    assert hidden.id in ids(search(studio, host, Query(words="a star"), include_hidden=True, wait_s=WAIT_S))


def test_words_are_read_while_pictures_are_drawn_and_what_is_finished_is_seen_at_once(
    visits: Studio, start: Start
) -> None:
    old, studio = put(visits, "old", star()), visits.opened()
    looking = start(idle=False)
    assert search(studio, ANNA, Query(words="star"), wait_s=WAIT_S).waits is None
    new = put(visits, "new", heart("red"))
    looking.finished(new.id, heart("red"))
    looking.end()
    found = search(studio, ANNA, Query(words="star"))
    assert ids(found) == [new.id] and found.unseen == 1 and "1" in str(found.notices[0]), f"not {old.id}: no time yet"


def test_an_answer_that_cannot_be_given_yet_says_why(visits: Studio) -> None:
    put(visits, "a red heart", heart("red"))
    studio, query = visits.opened(), Query(words="a red heart")
    found = search(studio, ANNA, query)
    assert (found.jobs, found.waits, found.unseen) == ([], "no_executor", 1)
    assert "No executor" in str(found.notices[0]) and "1" in str(found.notices[1])
    visits.start_executor()
    assert search(studio, ANNA, query).waits == "reading"


def test_what_cannot_be_searched_for_is_a_sentence(visits: Studio, start: Start) -> None:
    studio = visits.opened()
    start()
    for query, said in (
        (Query(), "one of them"),
        (Query(words="a", like="b"), "one of them"),
        (Query(words=" \u200b "), "some words"),
        (Query(words="x" * 301), "301 characters"),
        (Query(words="犬" * 300), "cannot be searched for"),
    ):
        with pytest.raises(BadWish, match=said):
            search(studio, ANNA, query, wait_s=WAIT_S)
    with pytest.raises(ValueError, match="not a picture"):
        search(studio, ANNA, Query(picture=b"nonsense"))


def test_a_picture_that_cannot_be_read_is_not_looked_at_again(visits: Studio, start: Start) -> None:
    put(visits, "broken", b"no picture")
    rank = visits.rank(queue_rank(visits), {"x": 0.1})
    good = put(visits, "good", heart("red"))
    start()
    all_seen(visits)
    assert ids(search(visits.opened(), ANNA, Query(words="red heart"))) == [good.id] and rank.state == "succeeded"


def queue_rank(visits: Studio) -> Job:
    """A job that succeeds without a picture."""
    params = {"prompt": "x", "clip": ["mini"], "pictures": []}
    new = queue.NewJob(engine="rank", checkpoint="none", batch_key="r", prompt="x", params=params, total_steps=1)
    return queue.enqueue(visits.db, new, submitter=ME)


def test_a_host_can_do_without(visits: Studio, start: Start) -> None:
    for name, said in (("", "no search by meaning"), ("nonsense", "permitted: mini")):
        with pytest.raises(SearchOff, match=said):
            search(visits.opened(search_clip=name), ANNA, Query(words="a star"))
        assert start(search_clip=name).ident is None, "no thread looks"


def test_a_space_is_one_clip_with_its_weights() -> None:
    spaces = [clip_space(name) for name in ("mini", "mini-robust", "ViT-B/32", "RN50")]
    assert len(set(spaces)) == 4 and clip_space("ViT-B/32") == "ViT-B/32@40d365715913"
    with pytest.raises(UnknownName, match="mini-robust"):
        clip_space("nonsense")
