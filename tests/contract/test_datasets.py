"""Datasets: what is kept of a zip, from the gallery, for whom, within which bounds, and how it goes again."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from PIL import Image

from db import queue
from db.artefacts import Store, sweeping
from db.datasets import records
from db.errors import TooManyBytesGiven, UnknownDataset, WordRefused
from db.evening import bulk, erasing, usage
from db.rules import host_rules
from generator.learning.stream.opening import open_stream
from settings import Settings
from studio import datasets, train
from studio import host as rules
from studio.context import Studio, Submitter
from studio.datasets import BadData
from studio.errors import BadWish, NotHost, TrainingOff
from tests.captioned_files import captioned, picture, write_zip
from tests.contract.queue_steps import add, take

ADA, BEN = Submitter("ada", address="here"), Submitter("ben", address="there")


@pytest.fixture
def studio(database: sa.Engine, tmp_path: Path) -> Studio:
    return Studio(Settings(train=True), database, Store(f"file://{tmp_path}/store"))


def given(studio: Studio, tmp_path: Path, count: int = 12, who: Submitter = ADA, **more: Any) -> records.Dataset:
    file = write_zip(tmp_path / "discs.zip", count, more=more.pop("more", None))
    return datasets.add_zip(studio, who, file, name="Discs", licence="CC0", **more)


def test_a_zip_is_kept_as_one_clean_zip_that_a_run_can_open(studio: Studio, tmp_path: Path) -> None:
    made = given(studio, tmp_path, more={"broken.png": b"no picture", "broken.txt": b"a caption", "note.exe": b"MZ"})
    assert (made.count, made.licence, made.key) == (12, "CC0", f"datasets/{made.id}.zip")
    local = studio.store.local_path(made.key)
    assert local is not None
    with zipfile.ZipFile(local) as kept:
        assert {*kept.namelist()} == {*captioned(12), "metadata.jsonl"}
        assert all(one.compress_type == zipfile.ZIP_STORED for one in kept.infolist())
    stream = open_stream(local, validation_share=0.2)
    assert stream.length == 12
    stream.close()
    assert any(one["kind"] == "unreadable picture" for one in made.report["problems"]), "the report says what was left"
    assert Image.open(io.BytesIO(datasets.sheet(studio, ADA, made.id))).format == "PNG"


def test_where_a_photograph_was_taken_is_not_kept(studio: Studio, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "at my home"
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(buffer, "JPEG", exif=exif)
    made = given(studio, tmp_path, more={"photo.jpg": buffer.getvalue(), "photo.txt": b"a red square"})
    with zipfile.ZipFile(io.BytesIO(studio.store.get(made.key))) as kept:
        assert b"at my home" not in kept.read("photo.jpg")


@pytest.mark.parametrize(
    "entries, said",
    [
        ({}, "no pictures"),
        ({"../../evil.png": picture(0), "../../evil.txt": b"up"}, "no path below its folder"),
        ({f"{n}.png": picture(n) for n in range(9)}, "needs a caption"),
        (
            {name: data for n in range(3) for name, data in ((f"{n}.png", picture(n)), (f"{n}.txt", b"three"))},
            "at least",
        ),
        ({f"{n}.txt": b"long " * 2000 for n in range(9)} | {f"{n}.png": picture(n) for n in range(9)}, "characters"),
        ({f"{n}.png": b"bomb" for n in range(9)} | {f"{n}.txt": b"a bomb" for n in range(9)}, "can be read"),
    ],
)
def test_bad_data_is_refused_in_one_sentence_and_nothing_is_kept(
    studio: Studio, tmp_path: Path, entries: dict[str, bytes], said: str
) -> None:
    file = tmp_path / "bad.zip"
    with zipfile.ZipFile(file, "w") as made:
        for name, data in entries.items():
            made.writestr(name, data)
    with pytest.raises(BadData, match=said):
        datasets.add_zip(studio, ADA, file, name="Bad")
    assert datasets.listed(studio, ADA) == [] and studio.store.names("datasets") == []


def test_what_is_no_zip_is_said(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"PK, or not")
    with pytest.raises(BadData, match="not a zip"):
        datasets.add_zip(studio, ADA, tmp_path / "no.zip", name="No")


def test_a_dataset_is_its_givers_alone(studio: Studio, tmp_path: Path) -> None:
    made = given(studio, tmp_path)
    assert [one.id for one in datasets.listed(studio, ADA)] == [made.id] and datasets.listed(studio, BEN) == []
    for look in (datasets.get, datasets.sheet, datasets.delete):
        with pytest.raises(UnknownDataset):
            look(studio, BEN, made.id)
    with pytest.raises(UnknownDataset):
        datasets.check_data(studio, BEN, made.reference)
    datasets.check_data(studio, ADA, made.reference)
    assert datasets.get(studio, replace(BEN, is_host=True), made.id) == made


@pytest.mark.parametrize("data", ["/etc", "../data", "datasets/x.zip", "ws://elsewhere:8000/ws"])
def test_a_run_learns_from_nothing_that_the_host_has_not_allowed(studio: Studio, data: str) -> None:
    with pytest.raises(BadWish):
        datasets.check_data(studio, ADA, data)


def test_quotas_hold_for_a_giver_an_address_and_all(studio: Studio, tmp_path: Path) -> None:
    size = given(studio, tmp_path).bytes
    for bound, who in (("submitter", ADA), ("address", replace(BEN, address="here")), ("total", BEN)):
        bounded = replace(
            studio,
            settings=Settings(
                train=True,
                **{f"max_dataset_bytes_per_{bound}": size + 1}
                if bound != "total"
                else {"max_dataset_bytes_total": size + 1},
            ),
        )
        with pytest.raises(TooManyBytesGiven):
            given(bounded, tmp_path, who=who)
    assert len(studio.store.names("datasets")) == 2


def test_visitors_may_give_none_where_the_host_does_not_let_them_train(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(TrainingOff):
        given(replace(studio, settings=Settings(train=False)), tmp_path)


def test_refused_words_name_no_dataset(studio: Studio, tmp_path: Path) -> None:
    host_rules.change(studio.db, refused_words=("discs",))
    with pytest.raises(WordRefused):
        given(studio, tmp_path)


def test_a_deleted_dataset_is_gone_and_ends_the_run_that_reads_it(studio: Studio, tmp_path: Path) -> None:
    made = given(studio, tmp_path)
    run = add(studio.db, engine="train", checkpoint="none", batch_key="train x", params={"data": made.reference})
    other = add(studio.db, engine="train", checkpoint="none", batch_key="train y", params={"data": "dataset:other"})
    take(studio.db)
    take(studio.db)
    datasets.delete(studio, ADA, made.id)
    ended = queue.get(studio.db, run.id)
    assert (ended.state, ended.error_kind) == ("failed", "source_deleted")
    assert queue.get(studio.db, other.id).state == "running"
    assert studio.store.names("datasets") == []


def test_the_end_of_an_event_takes_datasets_along(studio: Studio, tmp_path: Path) -> None:
    given(studio, tmp_path)
    host_rules.change(studio.db, paused=True)
    erasing.forget_everything(studio.db, studio.store)
    assert datasets.listed(studio, ADA) == [] and studio.store.names("datasets") == []
    assert erasing.left(studio.db, studio.store).nothing


def test_files_that_a_crash_left_are_swept_and_datasets_stay(studio: Studio, tmp_path: Path) -> None:
    made = given(studio, tmp_path)
    studio.store.put("datasets/stray.zip", b"left")
    studio.store.put("datasets/stray.png", b"left")
    sweeping.sweep(studio.db, studio.store, stray_s=-1)
    assert {*studio.store.under("datasets")} == {made.key, records.sheet_key(made.id)}


def test_the_host_sees_who_holds_datasets_and_what_they_take(studio: Studio, tmp_path: Path) -> None:
    first, second = given(studio, tmp_path), given(studio, tmp_path)
    given(studio, tmp_path, who=BEN)
    add(studio.db, "ada")
    people = {one.id: one for one in bulk.by_visitor(studio.db)}
    assert (people["ada"].datasets, people["ada"].dataset_bytes) == (2, first.bytes + second.bytes)
    assert (people["ada"].asked, people["ben"].asked, people["ben"].datasets) == (1, 0, 1)
    places = {one.id: one for one in bulk.by_address(studio.db)}
    assert (places["here"].datasets, places["there"].datasets) == (2, 1)
    datasets.delete(studio, ADA, first.id)
    assert {one.id: one.datasets for one in bulk.by_visitor(studio.db)} == {"ada": 1, "ben": 1}


def test_the_host_sees_what_datasets_and_saved_states_take(studio: Studio, tmp_path: Path) -> None:
    size = given(studio, tmp_path).bytes
    run = add(studio.db, engine="train", checkpoint="none")
    prefix = f"jobs/{run.id}/0a/state-40"
    studio.store.put(f"{prefix}/0000.bin", b"x" * 1000)
    studio.store.put(f"{prefix}/manifest.json", b'{"bytes": 1000}')
    studio.store.put(f"jobs/{run.id}/0a/state-20/manifest.json", b"torn")
    kept = usage.usage(studio.db, studio.store)
    assert kept.training == (("dataset", 1, size), ("training state", 1, 1000))
    assert kept.files == size + 1000
    queue.request_cancel(studio.db, run.id)
    assert usage.usage(studio.db, studio.store).training == (("dataset", 1, size),)


def test_the_hosts_rule_comes_before_the_configuration_and_holds_at_once(studio: Studio, tmp_path: Path) -> None:
    host = Submitter("host", is_host=True)
    rules.set_training(studio, host, False)
    with pytest.raises(TrainingOff):
        given(studio, tmp_path)
    given(studio, tmp_path, who=host)
    given(studio, tmp_path, who=Submitter("key:1"))
    closed = Studio(Settings(train=False), studio.db, studio.store)
    rules.set_training(closed, host, True)
    given(closed, tmp_path)
    rules.set_training(closed, host, None)
    with pytest.raises(TrainingOff):
        given(closed, tmp_path)
    with pytest.raises(NotHost):
        rules.set_training(closed, ADA, True)


def test_runs_that_wait_go_on_where_the_host_closes_training(studio: Studio, tmp_path: Path) -> None:
    data = given(studio, tmp_path).reference
    waiting = train.submit(studio, ADA, "train", {"data": data, "name": "discs"})
    host = Submitter("host", is_host=True)
    rules.set_training(studio, host, False)
    with pytest.raises(TrainingOff):
        train.submit(studio, ADA, "train", {"data": data, "name": "more"})
    train.pause(studio, ADA, waiting.id)
    train.go_on(studio, ADA, waiting.id)
    (running,) = take(studio.db)
    assert running.id == waiting.id, "it is claimed as any other"
    assert datasets.delete(studio, ADA, datasets.listed(studio, ADA)[0].id).reference == data
