"""Runs in the queue: behind all pictures, held back and told to end by their owners; and the models they made."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from db import queue
from db.artefacts import Store
from db.errors import NameTaken, NothingLearnt, NotYours
from db.evening import deleting, retention
from db.jobs import Job
from db.models import trained
from db.queue import workers
from db.rules import host_rules
from tests.contract.queue_steps import add, take

RUN = {"engine": "train", "checkpoint": "none", "batch_key": "train cats", "priority": -1}


def made(db: sa.Engine, job: Job, name: str = "caption-diffusion/cats") -> trained.TrainedModel:
    facts = {"key": f"jobs/{job.id}/model.safetensors", "sha256": "0" * 64, "size": 10}
    return trained.add(db, name=name, job_id=job.id, licence="CC0", submitter=job.submitter, card={"steps": 5}, **facts)


def finished(db: sa.Engine) -> Job:
    job = add(db, **RUN)
    take(db)
    return queue.succeed(db, worker_id="w1", job_id=job.id)


def test_a_run_waits_behind_the_pictures_of_everybody(database: sa.Engine) -> None:
    run = add(database, "early", **RUN)
    drawings = [add(database, who) for who in ("ada", "ben", "ada")]
    order = [take(database)[0].id for _ in range(4)]
    assert order[-1] == run.id and {*order[:-1]} == {job.id for job in drawings}


def test_a_paused_run_is_claimed_by_nobody_until_it_is_told_to_go_on(database: sa.Engine) -> None:
    run = add(database, **RUN)
    take(database)
    assert queue.pause(database, run.id, "ada").asked == queue.PAUSE
    assert queue.asked_of(database, [run.id]) == {run.id: "pause"}
    queue.release(database, worker_id="w1", job_id=run.id, step=4)
    assert take(database) == [] and queue.claim_this(database, worker_id="w1", job_id=run.id, lease_s=60) is None
    assert queue.position_and_wait(database, run.id)[0] == 0, "it stands in no line"
    drawing = add(database)
    assert [job.id for job in take(database)] == [drawing.id], "whoever paused it draws on"
    queue.go_on(database, run.id, "ada")
    (again,) = take(database)
    assert (again.id, again.step, again.asked) == (run.id, 4, None)


def test_a_run_can_be_cancelled_while_it_is_paused(database: sa.Engine) -> None:
    run = add(database, **RUN)
    queue.pause(database, run.id)
    assert queue.request_cancel(database, run.id, "ada").state == "cancelled"


def test_only_its_owner_and_the_host_may_ask_anything_of_a_run(database: sa.Engine) -> None:
    run = add(database, **RUN)
    for ask in (queue.pause, queue.go_on, queue.keep):
        with pytest.raises(NotYours):
            ask(database, run.id, "eve")
    assert queue.pause(database, run.id, None).asked == "pause"


def test_stop_and_keep_lets_a_paused_run_end_and_needs_something_to_keep(database: sa.Engine) -> None:
    run = add(database, **RUN)
    take(database)
    with pytest.raises(NothingLearnt, match="cancel it instead"):
        queue.keep(database, run.id, "ada")
    queue.heartbeat(database, worker_id="w1", job_id=run.id, step=3, lease_s=60)
    queue.pause(database, run.id, "ada")
    queue.release(database, worker_id="w1", job_id=run.id)
    queue.keep(database, run.id, "ada")
    (claimed,) = take(database)
    assert claimed.asked == queue.KEEP
    assert queue.go_on(database, run.id, "ada").asked == queue.KEEP, "it is not to be taken back by a late click"


def test_a_model_is_found_by_its_name_and_no_run_is_lost_by_one(database: sa.Engine) -> None:
    first, second = finished(database), finished(database)
    assert made(database, first).name == "caption-diffusion/cats"
    assert made(database, second).name == "caption-diffusion/cats-2"
    assert made(database, first).name == "caption-diffusion/cats", "told twice, it is one model"
    found = trained.find(database, "caption-diffusion/cats-2")
    assert found is not None and (found.job_id, found.bytes, found.card["name"]) == (second.id, 10, found.name)
    assert [one.name for one in trained.listed(database, "lora")] == []
    assert len(trained.listed(database)) == 2
    json.dumps(found.card)


def test_two_runs_of_one_name_are_refused_with_a_sentence(database: sa.Engine) -> None:
    trained.check_free(database, "caption-diffusion/cats", batch_key="train cats")
    add(database, **RUN)
    with pytest.raises(NameTaken, match="a run that is not over"):
        trained.check_free(database, "caption-diffusion/cats", batch_key="train cats")
    (running,) = take(database)
    queue.succeed(database, worker_id="w1", job_id=running.id)
    made(database, running)
    with pytest.raises(NameTaken, match="of a model already"):
        trained.check_free(database, "caption-diffusion/cats", batch_key="train cats")


def test_a_model_goes_with_its_run_and_retention_spares_both(database: sa.Engine, tmp_path: Path) -> None:
    store, run = Store(f"file://{tmp_path}/store"), finished(database)
    made(database, run)
    store.put(f"jobs/{run.id}/model.safetensors", b"model")
    assert retention.remove(database, store, [run.id]) == 0
    assert trained.find(database, "caption-diffusion/cats") is not None
    deleting.delete_job(database, store, run.id)
    assert trained.find(database, "caption-diffusion/cats") is None
    assert not store.exists(f"jobs/{run.id}/model.safetensors")


def test_the_host_lets_visitors_train_or_not(database: sa.Engine) -> None:
    assert host_rules.get(database).train is None, "as T2I_TRAIN says"
    assert host_rules.change(database, train=True).train is True
    assert host_rules.change(database, train=None).train is None


def test_a_large_file_is_stored_whole_without_being_held(tmp_path: Path) -> None:
    store, file = Store(f"file://{tmp_path}/store"), tmp_path / "large"
    file.write_bytes(b"0123456789" * 1_000_000)
    store.put_file("jobs/a/model.safetensors", file)
    assert store.get("jobs/a/model.safetensors") == file.read_bytes()
    memory = Store("memory://training-test")
    memory.put_file("jobs/a/model.safetensors", file)
    assert memory.get("jobs/a/model.safetensors") == file.read_bytes()


def test_a_run_that_was_lost_with_its_executor_makes_no_picture_wait(database: sa.Engine) -> None:
    run = add(database, **RUN)
    workers.register(database, worker_id="w1", device="cpu", engines=["train"], places=4, hostname="a", pid=1)
    take(database, lease_s=0.001)
    time.sleep(0.01)
    queue.requeue_expired(database)
    assert queue.get(database, run.id).suspect_step is not None
    add(database)
    take(database, "w2")
    assert not queue.makes_way(database, "w2"), "whoever draws goes on drawing"
    assert queue.waits(database, engines=["vqgan-clip"], above=-1) is False
    add(database, "ben")
    assert queue.waits(database, engines=["vqgan-clip"], above=-1) is True
