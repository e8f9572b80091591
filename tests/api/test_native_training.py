"""Training for programs as on the page: data sent, a run asked for, watched, held back, ended, compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from api import client_training
from db import artefacts, queue
from db.models import trained
from generator.output.learning import History, Row
from studio.context import Submitter
from studio.host import hide
from tests.api.serving import Served
from tests.captioned_files import write_zip
from tests.pages.visits import EXECUTOR, Studio

Key = Callable[..., dict[str, str]]
V1 = "/api/v1"


def ok(answer: Any, *statuses: int) -> Any:
    assert answer.status_code in (statuses or (200, 201)), answer.text
    return answer.json()


def sent(api: Served, key: dict[str, str], tmp_path: Path, count: int = 12) -> Any:
    data = write_zip(tmp_path / "discs.zip", count).read_bytes()
    headers = {**key, "content-type": "application/octet-stream"}
    return api.client.post(f"{V1}/datasets?name=Discs&licence=CC0", content=data, headers=headers)


def asked(api: Served, key: dict[str, str], data: str, name: str = "discs", **more: Any) -> Any:
    params = {"data": data, "name": name, "steps": 40, **more}
    return api.post(f"{V1}/training", {"params": params}, headers=key)


def learnt(visits: Studio, job_id: str, step: int = 20) -> None:
    """The executor has the run, and has learnt for some steps."""
    queue.claim(visits.db, worker_id=EXECUTOR, limit=1, engines=["train"], lease_s=600)
    told: dict[str, Any] = {"score": None, "steps_per_s": 4.0, "history": [], "lease_s": 600}
    queue.heartbeat(visits.db, worker_id=EXECUTOR, job_id=job_id, step=step, **told)
    rows = History([Row(10, 2.0, 0.5, 0.6, 5.0, 2**20), Row(step, 4.0, 0.3, 0.4, 4.0, 2**21)])
    file: dict[str, Any] = {"kind": "history", "media_type": "text/csv", "ext": "csv"}
    artefacts.save(visits.db, visits.store, job_id=job_id, data=rows.csv(), **file)


def test_a_zip_is_sent_and_a_run_learns_from_it(visits: Studio, api: Served, key: Key, tmp_path: Path) -> None:
    mine = key()
    data = ok(sent(api, mine, tmp_path), 201)
    assert data["count"] == 12 and data["report"]["trainable"] and data["licence"] == "CC0"
    assert ok(api.get(f"{V1}/datasets", headers=mine))["datasets"] == [data]
    assert api.get(data["sheet_url"], headers=mine).content.startswith(b"\x89PNG")
    run = ok(asked(api, mine, data["data"]), 201)
    assert run["params"]["licence"] == "CC0", "the model's card says whose data they were"
    learnt(visits, run["id"])
    found = ok(api.get(f"{V1}/training/{run['id']}", headers=mine))
    assert (found["train_loss"], found["validation_loss"], found["best_step"]) == (0.3, 0.4, 20)
    assert (found["steps_per_s"], found["left_s"], found["memory"]) == (4.0, 5.0, 2**21)
    assert [row["step"] for row in found["history"]] == [10, 20]


def test_what_a_run_needs_is_told_before_it_is_asked_for(api: Served, key: Key) -> None:
    mine = key()

    def told(engine: str, **params: Any) -> Any:
        wanted = {"engine": engine, "params": {"data": "dataset:a", "name": "discs", **params}}
        return api.post(f"{V1}/training/estimate", wanted, headers=mine)

    tiny, small = ok(told("train")), ok(told("train", preset="small"))
    assert 10e6 < tiny["model_bytes"] < small["model_bytes"] < small["state_bytes"] < small["disk_bytes"]
    assert tiny["memory_bytes"] < small["memory_bytes"] and tiny["pictures_at_once"] == 32
    assert tiny["fits"] and tiny["missing"] == []
    lora = ok(told("train-lora", rank=8))
    assert lora["missing"] == ["stable-diffusion-1-5"] and lora["model_bytes"] == 8 * 199_296 * 4
    assert "channels = (9, 16)" in told("train", channels=[9, 16]).text
    assert told("vqgan-clip").status_code == 422


def test_how_many_pictures_somebody_else_has_is_not_told_by_what_a_run_would_need(
    api: Served, key: Key, tmp_path: Path
) -> None:
    mine, others = key(), key()
    data = ok(sent(api, mine, tmp_path))["data"]

    def memory(who: dict[str, str], data: str) -> int:
        wanted = {"engine": "train-lora", "params": {"data": data, "name": "ink"}}
        return int(ok(api.post(f"{V1}/training/estimate", wanted, headers=who))["memory_bytes"])

    assert memory(mine, data) < memory(others, data) == memory(others, "dataset:none")


def test_a_lora_is_asked_for_with_the_model_it_changes(api: Served, key: Key, tmp_path: Path) -> None:
    mine = key()
    data = ok(sent(api, mine, tmp_path))["data"]
    params = {"data": data, "name": "ink", "checkpoint": "stable-diffusion-xl"}
    run = ok(api.post(f"{V1}/training", {"engine": "train-lora", "params": params}, headers=mine), 201)
    assert (run["params"]["checkpoint"], run["params"]["resolution"]) == ("stable-diffusion-xl", 1024)
    wrong = api.post(
        f"{V1}/training", {"engine": "train-lora", "params": {**params, "checkpoint": "mini"}}, headers=mine
    )
    assert wrong.status_code == 422 and "choose one of stable-diffusion-1-5" in wrong.text


def test_a_run_is_held_back_gone_on_with_and_ended_by_whoever_asked(
    visits: Studio, api: Served, key: Key, tmp_path: Path
) -> None:
    mine, others = key(), key()
    run = ok(asked(api, mine, ok(sent(api, mine, tmp_path))["data"]), 201)["id"]
    assert api.post(f"{V1}/training/{run}/pause", headers=others).status_code == 403
    assert api.post(f"{V1}/training/{run}/keep", headers=mine).status_code == 409, "nothing is learnt yet"
    ok(api.post(f"{V1}/training/{run}/pause", headers=mine))
    assert ok(api.get(f"{V1}/training/{run}", headers=mine))["asked"] == "pause"
    ok(api.post(f"{V1}/training/{run}/go-on", headers=mine))
    assert ok(api.get(f"{V1}/training/{run}", headers=mine))["asked"] is None
    learnt(visits, run)
    ok(api.post(f"{V1}/training/{run}/keep", headers=mine))
    assert ok(api.get(f"{V1}/training/{run}", headers=mine))["asked"] == "keep"


def test_two_runs_are_compared_by_what_differs(api: Served, key: Key, tmp_path: Path) -> None:
    mine = key()
    data = ok(sent(api, mine, tmp_path))["data"]
    first = ok(asked(api, mine, data, "one", seed=1), 201)["id"]
    second = ok(asked(api, mine, data, "two", seed=1, learning_rate=0.002), 201)["id"]
    found = ok(api.get(f"{V1}/training/compare?first={first}&second={second}", headers=mine))
    assert {one["name"]: (one["first"], one["second"]) for one in found["settings"]} == {
        "name": ("one", "two"),
        "learning_rate": (0.001, 0.002),
    }
    assert api.get(f"{V1}/training/compare?first={first}&second={first}", headers=mine).status_code == 422


def test_data_of_others_and_paths_of_the_machine_are_no_data(api: Served, key: Key, tmp_path: Path) -> None:
    mine, others = key(), key()
    data = ok(sent(api, mine, tmp_path))
    assert asked(api, others, data["data"]).status_code == 404
    assert asked(api, others, "/etc").status_code == 422
    assert api.get(f"{V1}/datasets/{data['id']}", headers=others).status_code == 404
    assert api.client.delete(f"{V1}/datasets/{data['id']}", headers=others).status_code == 404
    assert asked(api, mine, data["data"]).status_code == 201
    assert asked(api, mine, data["data"]).status_code == 409, "two runs of one name"
    ok(api.client.delete(f"{V1}/datasets/{data['id']}", headers=mine))
    assert asked(api, mine, data["data"], "later").status_code == 404


def test_a_zip_larger_than_the_host_takes_is_refused(serve: Callable[..., Served], key: Key, tmp_path: Path) -> None:
    api = serve(max_dataset_bytes=2000, api_max_body_bytes=1024)
    assert sent(api, key(), tmp_path).status_code == 413


def test_a_model_is_listed_with_its_card(visits: Studio, api: Served, key: Key, tmp_path: Path) -> None:
    mine = key()
    run = ok(asked(api, mine, ok(sent(api, mine, tmp_path))["data"]), 201)
    facts: dict[str, Any] = {"key": "jobs/x/model.safetensors", "sha256": "0" * 64, "size": 10, "licence": "CC0"}
    name = "caption-diffusion/discs"
    trained.add(visits.db, name=name, job_id=run["id"], submitter="x", card={"steps": 40}, **facts)
    (model,) = ok(api.get(f"{V1}/models", headers=mine))["models"]
    assert (model["name"], model["card"]["steps"], model["licence"]) == (name, 40, "CC0")
    assert ok(api.get(f"{V1}/models/{name}", headers=mine)) == model
    offered = ok(api.get(f"{V1}/engines/{model['engine']}", headers=mine))
    assert name in offered["checkpoints"], "it can be drawn with at once"


def test_the_client_sends_data_and_asks_for_a_run(visits: Studio, api: Served, key: Key, tmp_path: Path) -> None:
    studio = client_training.Trainer(api.address, key()["authorization"].removeprefix("Bearer "))
    data = studio.dataset(write_zip(tmp_path / "discs.zip", 12), "Discs", "CC0")
    assert studio.needs(data["data"], "discs", preset="small")["model_bytes"] > 40e6
    job = studio.train(data["data"], "discs", steps=40)
    learnt(visits, job.id)
    assert studio.run(job.id)["best_step"] == 20
    assert studio.ask_run(job.id, "pause")["id"] == job.id and studio.run(job.id)["asked"] == "pause"
    studio.close()


def test_finished_drawings_become_data_and_hidden_ones_never(visits: Studio, api: Served, key: Key) -> None:
    mine = key()
    (me,) = {job["id"] for job in ok(api.post(f"{V1}/jobs", {"params": {"prompt": "x"}}, headers=mine), 201)["jobs"]}
    who = queue.get(visits.db, me).submitter
    queue.request_cancel(visits.db, me, submitter=who)
    drawn = [visits.draw(f"a red heart {n}", who) for n in range(7)]
    visits.draw("somebody else's")
    hide(visits.opened(), Submitter("host", is_host=True), drawn[0].id)
    made = ok(api.post(f"{V1}/datasets/gallery", {"name": "Hearts", "choice": "mine"}, headers=mine), 201)
    assert made["count"] == 6 and made["report"]["caption"]["most"] == len("a red heart 0")
