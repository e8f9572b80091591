"""The end of an evening: everything in one zip without what was hidden, then nothing left."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sqlalchemy as sa

from db import artefacts, queue, votes
from db.artefacts import Store
from db.errors import StillRunning, StoreUnavailable
from db.evening.archive import PAGE, Wanted, write_evening
from db.evening.erasing import forget_everything
from db.evening.usage import usage
from db.jobs import Job
from db.queue import NewJob, Order, Webhook
from db.rules import host_rules, keys, visitors
from db.schema import host_settings, metadata
from db.sheets import refinements, submissions
from db.sheets.submissions import NewSheet
from settings import Settings
from studio.made_with_ai import note
from tests.contract.queue_steps import add, take

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \"' &lt; [a](javascript:1) \u202egnp.exe \u200b"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"file://{tmp_path}/artefacts")


def picture(db: sa.Engine, store: Store, submitter: str = "ada", **fields: object) -> Job:
    job = add(db, submitter, **fields)
    take(db, limit=1)
    for kind, ext in (("picture", "png"), ("thumbnail", "png"), ("gif", "gif"), ("preview", "png")):
        artefacts.save(
            db, store, job_id=job.id, kind=kind, data=f"{kind} {job.id}".encode(), media_type="image/png", ext=ext
        )
    return queue.succeed(db, worker_id="w1", job_id=job.id, score=0.5)


class Shown(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_evening_is_one_zip_with_a_gallery_of_what_may_be_seen(
    database: sa.Engine, store: Store, tmp_path: Path
) -> None:
    visitors.set_name(database, "ada-secret-cookie", "Ada <i>")
    one = picture(database, store, "ada-secret-cookie", prompt=HOSTILE, params={"prompt": HOSTILE, "seed": 7})
    two, hidden = picture(database, store, "bob-secret-cookie"), picture(database, store, prompt="not for you")
    for other in (two, hidden):
        votes.cast(database, voter="bob-secret-cookie", left_id=other.id, right_id=one.id, choice="right")
    queue.set_hidden(database, hidden.id)
    add(database, prompt="still waiting")
    target = tmp_path / "out" / "evening.zip"
    wanted = Wanted(title="Night <of> science", engine_titles={"vqgan-clip": "VQGAN + CLIP"})
    done = write_evening(database, store, target, wanted)
    assert (done.pictures, done.votes, done.size) == (2, 1, target.stat().st_size)
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        inside = {name: archive.read(name) for name in archive.namelist()}
    assert set(inside) == {"index.html", "pictures.json", "votes.csv"} | {
        f"{folder}/{job.id}.{ext}"
        for job in (one, two)
        for folder, ext in (("pictures", "png"), ("thumbnails", "png"), ("films", "gif"))
    }
    assert inside[f"pictures/{one.id}.png"] == f"picture {one.id}".encode()
    everything = b"".join(inside.values()).decode()
    assert not re.search("secret-cookie|not for you|still waiting", everything)

    page = Shown(inside["index.html"].decode())
    assert "Night <of> science" in page.text and "by Ada <i>" in page.text and "VQGAN + CLIP" in page.text
    assert " ".join(HOSTILE.split()) in page.text and "2 votes won, 0 lost" in page.text
    assert not {tag for tag, _ in page.tags} & {"script", "i", "of"}
    assert all(attributes.get("src", "thumbnails/").startswith("thumbnails/") for _, attributes in page.tags)
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    links = {a["href"] for tag, a in page.tags if tag == "a"} | {a["src"] for tag, a in page.tags if tag == "img"}
    assert links <= set(inside)
    assert " ".join(HOSTILE.split()) in [a["alt"] for tag, a in page.tags if tag == "img"]

    settings = {entry["id"]: entry for entry in json.loads(inside["pictures.json"])}
    assert settings[one.id]["params"] == {"prompt": HOSTILE, "seed": 7} and settings[one.id]["by"] == "Ada <i>"
    (vote,) = csv.DictReader(io.StringIO(inside["votes.csv"].decode()))
    assert (vote["left"], vote["right"], vote["winner"]) == (two.id, one.id, one.id)
    assert vote["visitor"] == str(settings[two.id]["visitor"]) != str(settings[one.id]["visitor"])


def test_every_page_of_the_gallery_says_made_with_ai_where_the_host_wants_it(
    database: sa.Engine, store: Store, tmp_path: Path
) -> None:
    for _ in range(2):
        picture(database, store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("db.evening.archive.PAGE", 1)
        for name, wanted in (("said.zip", True), ("unsaid.zip", False)):
            told = note(Settings(made_with_ai_note=wanted))
            write_evening(database, store, tmp_path / name, Wanted(title="x", note=told))
    for name, said in (("said.zip", True), ("unsaid.zip", False)):
        with zipfile.ZipFile(tmp_path / name) as archive:
            pages = [archive.read(page).decode() for page in ("index.html", "page-2.html")]
        assert [("Made with AI" in Shown(page).text) for page in pages] == [said, said]


def test_many_pictures_are_many_pages_and_an_evening_has_a_beginning(
    database: sa.Engine, store: Store, tmp_path: Path
) -> None:
    before = picture(database, store)
    with database.begin() as conn:
        conn.execute(sa.text("UPDATE jobs SET created_at = created_at - 90000"))
    new = [picture(database, store, f"v{n % 7}") for n in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("db.evening.archive.PAGE", 2)
        done = write_evening(database, store, tmp_path / "e.zip", Wanted(title="x", since=float(new[0].created_at) - 1))
    assert PAGE > 2 and done.pictures == 3
    with zipfile.ZipFile(tmp_path / "e.zip") as archive:
        first, second = archive.read("index.html").decode(), archive.read("page-2.html").decode()
        assert "page-3.html" not in archive.namelist()
    assert 'href="page-2.html"' in first and 'href="index.html"' in second and "page-3" not in second
    assert [new[2].id in first, new[1].id in first, new[0].id in second] == [True] * 3
    assert before.id not in first + second


def test_an_export_that_cannot_be_written_leaves_no_file(database: sa.Engine, store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="cannot be written to"):
        write_evening(database, store, tmp_path / "file" / "evening.zip", Wanted(title="x"))
    one = picture(database, store)
    store.delete(artefacts.of_job(database, one.id)["picture"].key)
    done = write_evening(database, store, tmp_path / "evening.zip", Wanted(title="x"))
    assert done.pictures == 1 and not list(tmp_path.glob(".*"))


def test_an_evening_is_deleted_whole_but_for_the_hosts_rules_and_keys(
    database: sa.Engine, store: Store, tmp_path: Path
) -> None:
    one, two = picture(database, store), picture(database, store)
    child = picture(database, store, parent_id=one.id)
    new = NewJob(engine="e", checkpoint="c", batch_key="b", prompt="p", params={}, total_steps=1)
    both = NewSheet(kind="candidates", prompt="p", wanted=[("1", new), ("2", new)])
    submissions.submit(database, both, submitter="bob")
    made = refinements.start(database, both, submitter="bob")
    (row,) = refinements.stages_of(database, made.id)
    refinements.mark(database, made.id, submissions.jobs_of(database, row.submission.id)[0].job.id, True)
    artefacts.save(database, store, job_id=None, kind="upload", data=b"photo", media_type="image/png", ext="png")
    votes.cast(database, voter="eve", left_id=one.id, right_id=two.id, choice="tie")
    visitors.set_name(database, "eve", "Eve")
    order = Order("once", "hash", Webhook("https://example.com/", "c2VjcmV0IHNlY3JldCBzZWNyZXQ="))
    queue.enqueue(database, new, submitter="bob", order=order)
    secret, key = keys.make(database, "Bot")
    host_rules.change(database, max_queued=9)
    kept = usage(database, store)
    assert kept.kinds["picture"][0] == 3 and kept.kinds["upload"] == (1, 5)
    assert kept.files > 100 and kept.database > 0 and kept.free
    with pytest.raises(StillRunning, match="The queue is open: pause"):
        forget_everything(database, store)
    (running,) = take(database)
    host_rules.change(database, paused=True)
    with pytest.raises(StillRunning, match=r"Jobs are running \(1\)"):
        forget_everything(database, store)
    assert queue.get(database, child.id) and list((tmp_path / "artefacts").rglob("*.png"))
    queue.release(database, worker_id="w1", job_id=running.id)
    gone = forget_everything(database, store)
    assert (gone.jobs, gone.files) == (8, 13)
    with database.connect() as conn:
        left = {t.name for t in metadata.sorted_tables if conn.scalar(sa.select(sa.func.count()).select_from(t))}
    assert left - {"workers"} == {host_settings.name, "api_keys", "visitors", "studio", "erasures"}
    assert visitors.names(database, ["eve", key.submitter]) == {key.submitter: "Bot"}
    assert keys.find(database, secret) == key, "programs are let in as before"
    assert not list((tmp_path / "artefacts").rglob("*")), "no empty folders either"
    assert usage(database, store).files == 0
    host_rules.change(database, paused=False)
    assert add(database)
