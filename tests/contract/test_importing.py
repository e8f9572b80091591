"""A model that was trained elsewhere: brought by the host as one file, drawn with at once, taken home, removed."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db import queue
from db.artefacts import Store, sweeping
from db.backup import making
from db.errors import BadValue, DiskNearlyFull, NameTaken, StoreFull, UnknownArtefact
from db.evening import erasing
from db.models import trained
from db.models.trained import TrainedModel
from db.rules import host_rules
from db.schema import artefacts
from executor import models
from executor.context import Context
from settings import Settings
from studio import datasets, importing, settings_form, train
from studio.context import Studio, Submitter
from studio.errors import BadWish, NotHost
from tests.brought_models import caption_model, lora
from tests.captioned_files import write_zip
from tests.contract.queue_steps import add
from tests.executor_studio import Studio as Executing

HOST, ADA = Submitter("host", is_host=True), Submitter("ada")
NAME = "caption-diffusion/discs"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return caption_model(tmp_path_factory.mktemp("models") / "from-elsewhere.safetensors")


@pytest.fixture
def studio(database: sa.Engine, tmp_path: Path) -> Studio:
    settings = Settings(checkpoints_dir=tmp_path / "checkpoints", min_free_bytes=0)
    return Studio(settings, database, Store(f"file://{tmp_path}/store"))


def brought(studio: Studio, file: Path, name: str = "discs") -> TrainedModel:
    return importing.import_model(studio, HOST, file, name=name)


def stored(studio: Studio) -> list[str]:
    return studio.store.names("uploads")


def test_a_model_is_known_by_its_name_with_its_card_and_its_file(studio: Studio, file: Path) -> None:
    made = brought(studio, file)
    assert (made.name, made.kind, made.job_id, made.licence) == (NAME, "caption-diffusion", None, "CC0")
    assert made.card["imported"] and made.card["steps"] == 40 and made.card["name"] == NAME
    assert studio.store.get(made.key) == file.read_bytes(), "the same file, byte for byte"
    assert train.models(studio, ADA) == [made], "everybody may draw with it"
    assert train.engine_of(made) == ("latent-diffusion", NAME) and train.file_name(made) == "discs.safetensors"
    assert NAME in settings_form.checkpoints(studio, "latent-diffusion")


def test_a_lora_is_offered_where_loras_are_named(studio: Studio, tmp_path: Path) -> None:
    made = importing.import_model(studio, HOST, lora(tmp_path / "x.safetensors"), name="ink", licence=" my  own ")
    assert (made.name, made.licence, made.card["made_for"]) == ("lora/ink", "my own", "sd_v1")
    assert settings_form.loras(studio) == ["ink"]


def test_only_the_host_brings_and_removes_models(studio: Studio, file: Path) -> None:
    with pytest.raises(NotHost):
        importing.import_model(studio, ADA, file, name="discs")
    brought(studio, file)
    with pytest.raises(NotHost):
        importing.remove_model(studio, ADA, NAME)
    assert trained.find(studio.db, NAME) is not None


def test_a_name_that_is_taken_is_refused_and_nothing_is_lost(studio: Studio, file: Path, tmp_path: Path) -> None:
    made = brought(studio, file)
    with pytest.raises(NameTaken, match="of a model already"):
        brought(studio, file)
    add(studio.db, engine="train", checkpoint="none", batch_key="train cats")
    with pytest.raises(NameTaken, match="of a run that is not over"):
        brought(studio, file, "cats")
    theirs = tmp_path / "checkpoints" / "caption-diffusion" / "mine" / "mine.safetensors"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(file.read_bytes())
    with pytest.raises(NameTaken, match="in the folder of checkpoints"):
        brought(studio, file, "mine")
    assert train.models(studio, HOST) == [made] and stored(studio) == [made.key]


def test_a_run_does_not_take_the_name_of_a_model_that_the_host_has_put_there(
    studio: Studio, file: Path, tmp_path: Path
) -> None:
    data = datasets.add_zip(studio, HOST, write_zip(tmp_path / "discs.zip", 12), name="Discs", licence="CC0").reference
    theirs = tmp_path / "checkpoints" / NAME / "discs.safetensors"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(file.read_bytes())
    with pytest.raises(NameTaken, match="in the folder of checkpoints"):
        train.submit(studio, HOST, "train", {"data": data, "name": "discs"})
    assert train.submit(studio, HOST, "train", {"data": data, "name": "others"}).state == "queued"


def installing(studio: Studio, tmp_path: Path) -> Context:
    settings = Settings(checkpoints_dir=tmp_path / "checkpoints")
    return Context("w1", studio.db, studio.store, settings, tmp_path / "work", logging.getLogger("test"))


def test_what_the_host_has_put_there_is_never_replaced_and_what_was_fetched_is(studio: Studio, tmp_path: Path) -> None:
    context = installing(studio, tmp_path)
    made = importing.import_model(studio, HOST, lora(tmp_path / "x.safetensors"), name="ink")
    theirs = lora(tmp_path / "mine.safetensors", metadata={}).read_bytes()
    place = tmp_path / "checkpoints" / "lora" / "ink.safetensors"
    place.parent.mkdir(parents=True)
    place.write_bytes(theirs)
    with pytest.raises(FileExistsError, match="put by hand"):
        models.install(context, made)
    assert place.read_bytes() == theirs
    place.unlink()
    assert models.install(context, made) == place and place.read_bytes() == studio.store.get(made.key)
    importing.remove_model(studio, HOST, "lora/ink")
    newer = importing.import_model(studio, HOST, tmp_path / "mine.safetensors", name="ink")
    assert models.install(context, newer).read_bytes() == theirs
    importing.remove_model(studio, HOST, "lora/ink")
    models.forget_deleted(context)
    assert list(place.parent.iterdir()) == []


def test_executors_that_remove_a_model_at_once_do_not_trip_over_each_other(
    studio: Studio, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = installing(studio, tmp_path)
    models.install(context, brought(studio, file))
    importing.remove_model(studio, HOST, NAME)
    read = Path.read_text

    def gone(path: Path, *args: Any, **more: Any) -> str:
        path.unlink()  # the other one was faster
        return read(path, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", gone)
        models.forget_deleted(context)


def test_of_two_that_come_at_once_under_one_name_one_is_kept(studio: Studio, file: Path) -> None:
    def bring(_: int) -> str:
        try:
            return brought(studio, file).key
        except NameTaken:
            return "taken"

    with ThreadPoolExecutor(4) as threads:
        came = sorted(threads.map(bring, range(4)))
    assert came[:3] == ["taken"] * 3 and stored(studio) == came[3:]


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x" * 65, "a b", ".hidden", "é"])
def test_names_that_are_no_names_are_refused(studio: Studio, file: Path, name: str) -> None:
    with pytest.raises(BadWish, match="no name for a model"):
        brought(studio, file, name)
    assert stored(studio) == []


def test_what_is_no_model_is_refused_in_a_sentence(studio: Studio, file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BadWish, match="cut short"):
        brought(studio, bad)
    small = Studio(Settings(max_model_bytes=1000), studio.db, studio.store)
    with pytest.raises(BadWish, match="at most 0 MB are taken"):
        brought(small, file)
    assert stored(studio) == [] and train.models(studio, HOST) == []


def test_a_full_disk_keeps_nothing_of_it(studio: Studio, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = Studio(Settings(min_free_bytes=1 << 60), studio.db, studio.store)
    with pytest.raises(DiskNearlyFull):
        brought(greedy, file)

    def full(key: str, source: Path) -> None:
        raise StoreFull("The artefact store has no space left; free some disk space.")

    with monkeypatch.context() as patch, pytest.raises(StoreFull):
        patch.setattr(studio.store, "put_file", full)
        brought(studio, file)
    assert stored(studio) == [] and train.models(studio, HOST) == []
    brought(studio, file)


def test_a_model_is_removed_with_its_file_and_one_of_a_run_is_not(studio: Studio, file: Path) -> None:
    brought(studio, file)
    importing.remove_model(studio, HOST, NAME)
    assert stored(studio) == [] and train.models(studio, HOST) == []
    with studio.db.connect() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(artefacts)) == 0
    with pytest.raises(UnknownArtefact):
        importing.remove_model(studio, HOST, NAME)
    run = add(studio.db, engine="train", checkpoint="none")
    told = {"key": f"jobs/{run.id}/model.safetensors", "sha256": "0" * 64, "size": 1, "licence": "CC0"}
    trained.add(studio.db, name=NAME, job_id=run.id, submitter="ada", card={}, **told)
    with pytest.raises(BadValue, match="goes when that job is deleted"):
        importing.remove_model(studio, HOST, NAME)


def test_a_model_survives_sweeps_and_goes_with_the_event(studio: Studio, file: Path) -> None:
    made = brought(studio, file)
    assert sweeping.sweep(studio.db, studio.store, stray_s=0.0) == sweeping.Swept()
    assert studio.store.exists(made.key)
    host_rules.change(studio.db, paused=True)
    erasing.forget_everything(studio.db, studio.store)
    assert stored(studio) == [] and trained.listed(studio.db) == [] and erasing.left(studio.db, studio.store).nothing
    assert brought(studio, file).name == NAME, "and can be brought again"


def test_a_model_is_in_a_backup(studio: Studio, file: Path, tmp_path: Path) -> None:
    made = brought(studio, file)
    done = making.back_up(studio.db, studio.store, tmp_path / "backups", keep=1, version="1")
    assert (done.folder / making.FILES / made.key).read_bytes() == file.read_bytes()


@pytest.fixture
def executing(tmp_path: Path) -> Iterator[Executing]:
    studio = Executing(tmp_path)
    yield studio
    studio.close()


def test_a_model_draws_at_once_on_every_machine_until_it_is_removed(executing: Executing, file: Path) -> None:
    web = Studio(Settings(checkpoints_dir=executing.folder / "none", min_free_bytes=0), executing.db, executing.store)
    brought(web, file)
    drawing = executing.add_raw(
        {"prompt": "a red disc", "checkpoint": NAME, "steps": 2, "seed": 1}, engine="latent-diffusion"
    )
    executing.executor()
    (drawn,) = executing.ended(drawing)
    assert drawn.state == "succeeded", drawn.error
    here = executing.folder / "data/checkpoints" / NAME
    assert (here / "model.safetensors").read_bytes() == file.read_bytes()
    # Another deletion is no reason to remove it.
    queue.request_cancel(executing.db, executing.add("x").id)
    brought(web, file, "other")
    importing.remove_model(web, HOST, "caption-diffusion/other")
    executing.until(lambda: executing.said("erased") > 0)
    assert (here / "model.safetensors").is_file()
    importing.remove_model(web, HOST, NAME)
    executing.until(lambda: not here.exists())
    late = executing.add_raw({"prompt": "a red disc", "checkpoint": NAME, "steps": 2}, engine="latent-diffusion")
    (failed,) = executing.ended(late)
    assert failed.error is not None and failed.error.startswith(f"There is no model {NAME} here, or not any more")


def test_a_full_disk_is_said_where_the_file_is_put(studio: Studio, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("db.artefacts.store._write_whole", full)
    with pytest.raises(StoreFull, match="no space left"):
        brought(studio, file)
