"""What a host's monitors see: figures, health, log lines and traces; and that files for them name what there is."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from api.answered import UNKNOWN
from api.server import build
from db import queue
from db.queue import Order, Webhook, workers
from settings import Settings
from tests.api.serving import Served, events, served
from tests.api.waiting_calls import calling, until
from tests.browser.running import web_app
from tests.pages.visits import EXECUTOR, ME, Studio

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs/operations"
HEART = {"engine": "vqgan-clip", "params": {"prompt": "a red heart"}}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
Serve = Callable[..., Served]


def scraped(api: Served, **more: Any) -> Samples:
    """What Prometheus would keep of one look: value by name and labels."""
    answer = api.get("/metrics", **more)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def busy_evening(visits: Studio) -> None:
    """Something of everything that is measured."""
    visits.start_executor()
    visits.draw("a red heart")
    visits.enqueue("a blue car")
    running = visits.run()
    failing = visits.enqueue("a penguin")
    visits.run()
    queue.fail(visits.db, worker_id=EXECUTOR, job_id=failing.id, kind="out_of_memory", message="Too little memory.")
    assert running.steps_per_s is not None
    new = queue.NewJob(engine="vqgan-clip", checkpoint="mini", batch_key="b", prompt="p", params={}, total_steps=1)
    hook = Webhook("https://example.org", "c2VjcmV0c2VjcmV0c2VjcmV0")
    queue.enqueue(visits.db, new, submitter=ME, order=Order(webhook=hook))


# Figures


def test_the_figures_are_those_of_the_studio(api: Served, visits: Studio) -> None:
    busy_evening(visits)
    now = scraped(api)
    assert value(now, "t2i_jobs", engine="vqgan-clip", state="queued") == 1
    assert value(now, "t2i_jobs", engine="vqgan-clip", state="running") == 1
    assert value(now, "t2i_queue_depth") == 1 and value(now, "t2i_queue_paused") == 0
    assert value(now, "t2i_jobs_ended_total", engine="vqgan-clip", state="succeeded") == 1
    assert value(now, "t2i_job_failures_total", kind="out_of_memory") == 1
    assert value(now, "t2i_executors", device="cpu") == 1 and value(now, "t2i_executor_places", device="cpu") == 2
    assert value(now, "t2i_running_steps_per_second", engine="vqgan-clip") == 4
    assert (value(now, "t2i_job_seconds", engine="vqgan-clip", quantile="0.95") or 0) > 0
    assert value(now, "t2i_queue_next_wait_seconds", engine="vqgan-clip") is not None
    assert value(now, "t2i_webhooks", state="waiting") == 1
    assert (value(now, "t2i_store_bytes", kind="picture") or 0) > 0
    assert (value(now, "process_resident_memory_bytes") or 0) > 1e7


def test_requests_are_counted_by_the_template_of_their_route(api: Served, visits: Studio) -> None:
    job = visits.enqueue("a red heart")
    before = scraped(api)
    for path in (f"/api/v1/jobs/{job.id}", "/api/v1/jobs/no-such-job", "/api/v1/jobs/no-such-job/cancel"):
        api.get(path)
    api.get("/whatever/somebody/types")
    api.get("/v1/whatever")
    api.post("/mcp", {"jsonrpc": "2.0"})
    api.get("/api/docs/static/swagger-ui.css")
    address = httpx.URL(api.address)
    strange = http.client.HTTPConnection(address.host, address.port or 80)
    strange.request("BREW", "/healthz")
    assert strange.getresponse().status == 405
    strange.close()
    now = scraped(api)

    def more(method: str, route: str, status: str) -> float:
        labels = {"method": method, "route": route, "status": status}
        return (value(now, "t2i_http_requests_total", **labels) or 0) - (
            value(before, "t2i_http_requests_total", **labels) or 0
        )

    assert more("GET", "/api/v1/jobs/{job_id}", "200") == more("GET", "/api/v1/jobs/{job_id}", "404") == 1
    assert more("GET", "/api/v1/jobs/{job_id}/cancel", "405") == 1
    assert more("GET", UNKNOWN, "404") == 2
    assert more("POST", "/mcp", "400") == 1
    assert more("GET", "/api/docs/static/*", "200") == 1
    assert more("OTHER", "/healthz", "405") == 1
    routes = {dict(labels).get("route") for name, labels in now if name == "t2i_http_requests_total"}
    assert not {route for route in routes if route and ("no-such-job" in route or job.id in route or "what" in route)}
    assert value(now, "t2i_http_request_seconds_count", method="GET", route="/api/v1/jobs/{job_id}") == 2


def test_open_streams_and_whom_they_follow_are_seen(api: Served, visits: Studio) -> None:
    job = visits.enqueue("a red heart")
    with api.client.stream("GET", f"/api/v1/jobs/{job.id}/events") as stream:
        following = events(stream.iter_lines())
        next(following)
        now = scraped(api)
        assert value(now, "t2i_http_streams") == 1 and value(now, "t2i_followers") == 1
        assert value(now, "t2i_http_requests_in_progress") == 2  # the stream, and the look itself
        queue.request_cancel(visits.db, job.id)
        assert [kind for kind, _, _ in following][-1] == "done"
    now = scraped(api)
    assert value(now, "t2i_http_streams") == 0 and value(now, "t2i_http_requests_in_progress") == 1


def test_figures_are_for_this_machine_or_for_a_key(serve: Serve, key: Callable[..., dict[str, str]]) -> None:
    api = serve(api="keys")
    assert api.get("/metrics").status_code == 401
    assert scraped(api, headers=key("read"))
    proxied = {"x-forwarded-for": "192.0.2.7"}
    assert serve(api="local").get("/metrics", headers=proxied).status_code == 401


def test_two_servers_in_one_process_count_for_themselves(serve: Serve) -> None:
    first, second = serve(), serve()
    for _ in range(3):
        first.get("/healthz")
    labels = {"method": "GET", "route": "/healthz", "status": "200"}
    assert value(scraped(first), "t2i_http_requests_total", **labels) == 3
    assert value(scraped(second), "t2i_http_requests_total", **labels) is None


def test_without_its_database_the_server_still_tells_of_itself(api: Served, visits: Studio) -> None:
    assert value(scraped(api), "t2i_database_up") == 1
    Path(str(visits.db.url.database)).unlink()
    now = scraped(api)
    assert value(now, "t2i_database_up") == 0 and value(now, "t2i_queue_depth") is None
    assert value(now, "t2i_threads_busy") == 1


# Health


def test_the_server_is_ready_while_database_and_store_can_be_used(api: Served, visits: Studio) -> None:
    visits.start_executor()
    visits.enqueue("a red heart")
    ready = api.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok", "executors": 1, "queued": 1, "running": 0})
    workers.stop(visits.db, EXECUTOR)
    assert api.get("/readyz").status_code == 200  # jobs are taken, and wait


def test_without_its_store_the_server_is_alive_and_not_ready(api: Served, visits: Studio) -> None:
    folder = visits.store.local_path("any")
    assert folder is not None and not folder.parent.exists()
    folder.parent.write_text("a file where the folder should be")
    refused = api.get("/readyz")
    assert (refused.status_code, refused.json()["detail"]) == (503, "The studio cannot reach its pictures.")
    assert refused.headers["retry-after"] == "5"
    assert api.get("/healthz").status_code == 200


def test_without_its_database_the_server_is_alive_and_not_ready(api: Served, visits: Studio) -> None:
    Path(str(visits.db.url.database)).unlink()
    refused = api.get("/readyz")
    assert (refused.status_code, refused.json()["detail"]) == (503, "The studio cannot reach its database.")
    assert api.get("/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize("wrong", [{"database_url": "postgresql://ada:hunter2@127.0.0.1:1/x"}, {"store_url": "s4://x"}])
def test_what_the_server_never_reached_is_named_on_every_road(wrong: dict[str, str], tmp_path: Path) -> None:
    found = {"database_url": f"sqlite:///{tmp_path}/jobs.db"}
    what = "database" if "database_url" in wrong else "pictures"

    async def asked() -> None:
        on_it = httpx.ASGITransport(build(Settings(**found | wrong)))
        async with httpx.AsyncClient(transport=on_it, base_url="http://localhost") as client:
            for path in ("/api/v1/jobs", "/v1/images/generations", "/sdapi/v1/txt2img", "/predict/stable_diffusion"):
                answer = await client.post(path, json=HEART | {"prompt": "a heart"})
                assert answer.status_code == 503, (path, answer.text)
                assert f"The studio cannot reach its {what}." in answer.text and "hunter2" not in answer.text, path

    asyncio.run(asked())


# Log lines and traces of the real processes


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    """A server and an executor with JSON lines and traces to the console, asked for a picture; the job's id, the
    lines of their log, the spans they made."""
    folder = tmp_path_factory.mktemp("logged")
    settings = {
        "T2I_JSON_LOG": "1",
        "T2I_DEFAULT_ENGINE": "latent-diffusion",
        "T2I_DEFAULT_CHECKPOINT": "mini-latent-diffusion",
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with web_app(folder, executor=True, pages=False, **settings) as address:
        calling = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "authorization": "Bearer a-secret-key"}
        params = {"prompt": "a secret prompt", "checkpoint": "mini-latent-diffusion", "steps": 4, "width": 64}
        body = {"engine": "latent-diffusion", "params": {**params, "height": 64}}
        made = httpx.post(f"{address}/api/v1/jobs", json=body, headers=calling, timeout=60)
        (job,) = made.json()["jobs"]
        ended = httpx.get(f"{address}{job['url']}/wait?timeout_s=60", timeout=90).json()
        assert ended["state"] == "succeeded", ended
        assert httpx.get(f"{address}/nothing-here").status_code == 404
        assert httpx.get(f"{address}/healthz").status_code == 200
    text = (folder / "log.txt").read_text()
    assert "a secret prompt" not in text and "a-secret-key" not in text
    lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"at"')]
    spans = [json.loads(block) for block in re.findall(r"^\{\n.*?^\}", text, re.M | re.S)]
    return job["id"], lines, spans


def test_each_request_is_one_line_without_keys_or_prompts(logged: Any) -> None:
    job_id, lines, _ = logged
    asked, waited, missed = (line for line in lines if line["log"] == "api" and line["event"] == "request")
    assert asked["route"] == "/api/v1/jobs" and asked["method"] == "POST" and asked["status"] == 201
    assert asked["caller"] == "anonymous" and asked["jobs"] == [job_id] and asked["seconds"] > 0
    assert waited["route"] == "/api/v1/jobs/{job_id}/wait" and waited["jobs"] == [job_id]
    assert missed["route"] == UNKNOWN and missed["status"] == 404 and "caller" not in missed


def test_executors_write_the_same_lines(logged: Any) -> None:
    job_id, lines, _ = logged
    of_executor = {line["event"]: line for line in lines if line["log"] == "executor"}
    assert of_executor["opened"]["job"] == of_executor["succeeded"]["job"] == job_id
    assert of_executor["succeeded"]["level"] == "INFO" and of_executor["succeeded"]["step"] == 4


def test_one_trace_leads_from_the_caller_through_the_queue_to_the_stored_picture(logged: Any) -> None:
    job_id, _, spans = logged
    ours = {span["name"]: span for span in spans if span["context"]["trace_id"] == f"0x{'ab' * 16}"}
    assert len(ours) == sum(span["context"]["trace_id"] == f"0x{'ab' * 16}" for span in spans)
    assert sorted(ours) == ["POST /api/v1/jobs", "job latent-diffusion", "queue", "run", "store"]
    asked, job = ours["POST /api/v1/jobs"], ours["job latent-diffusion"]
    assert asked["parent_id"] == f"0x{'cd' * 8}" and asked["attributes"]["http.response.status_code"] == 201
    assert asked["attributes"]["t2i.jobs"] == [job_id]
    assert job["parent_id"] == asked["context"]["span_id"]
    assert job["attributes"]["t2i.job"] == job_id and job["attributes"]["t2i.outcome"] == "succeeded"
    for name in ("queue", "run", "store"):
        assert ours[name]["parent_id"] == job["context"]["span_id"]
    assert job["start_time"] == ours["queue"]["start_time"] and ours["queue"]["end_time"] == ours["run"]["start_time"]
    assert ours["run"]["end_time"] == ours["store"]["start_time"] and ours["store"]["end_time"] == job["end_time"]
    assert not {span["name"] for span in spans if "/healthz" in span["name"]}


def test_a_key_is_named_in_the_log_and_not_shown(
    visits: Studio, key: Callable[..., dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="api")
    with served(visits, api="keys") as api:
        shown = key("submit")
        password = shown["authorization"].partition(" ")[2]
        basic = {"authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}
        assert api.post("/api/v1/jobs", HEART, headers=shown).status_code == 201
        assert api.get("/api/v1/jobs", headers=basic).status_code == 200
        assert api.get("/api/v1/jobs").status_code == 401
    lines = [record for record in caplog.records if record.getMessage() == "request"]
    fields = [getattr(record, "fields") for record in lines]  # noqa: B009
    assert [one["caller"] for one in fields] == ["key a submit program", "key a submit program", None]
    assert not [one for one in fields if password in str(one) or "red heart" in str(one)]


def test_a_line_names_the_jobs_of_its_request_whatever_asked_for_them(
    visits: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="api")

    def noted(route: str) -> set[str]:
        def lines() -> list[dict[str, Any]]:
            fields = [getattr(one, "fields") for one in caplog.records if one.getMessage() == "request"]  # noqa: B009
            return [one for one in fields if one["method"] == "POST" and one["route"] == route and one["jobs"]]

        (line,) = until(lines, len)  # it is written after the answer
        caplog.clear()
        assert len(set(line["jobs"])) == len(line["jobs"])
        return set(line["jobs"])

    def queued() -> set[str]:
        return {job.id for job in queue.queued_jobs(visits.db, limit=100)}

    def ask(route: str, body: Any, **ids: str) -> None:
        before = queued()
        answer = api.post(route.format(**ids), body, headers={"idempotency-key": route})
        assert answer.status_code in (200, 201), answer.text
        made = queued() - before
        assert made and noted(route) == made
        assert api.post(route.format(**ids), body, headers={"idempotency-key": route}).status_code == 200
        assert queued() - before == made == noted(route), "the same again is about those of the first time"

    with served(visits) as api:
        drawn = [visits.draw("a red heart").id, visits.draw("a red heart").id]
        ask("/api/v1/jobs", HEART)
        ask("/api/v1/rankings", {"prompt": "a red heart", "job_ids": drawn})
        ask("/api/v1/refinements", {"prompt": "a red heart", "engine": "vqgan-clip", "count": 2})
        rows = {"name": "cutn", "values": ["8", "16"]}
        ask("/api/v1/comparisons", {**HEART, "rows": rows})
        call = {"name": "draw", "arguments": {"prompt": "a red heart", "wait_s": 0}}
        before = queued()
        accept = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-03-26"}
        begin = {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
        begun = api.post("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": begin}, headers=accept)
        accept["mcp-session-id"] = begun.headers["mcp-session-id"]
        api.post("/mcp", {"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=accept)
        api.post("/mcp", {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}, headers=accept)
        assert noted("/mcp") == queued() - before != set()
        before = queued()
        with calling(api, "txt2img", {"prompt": "a heart", "batch_size": 2}) as answer:
            mine = until(lambda: queued() - before, lambda found: len(found) == 2)
            for job_id in mine:
                queue.request_cancel(visits.db, job_id)
            assert answer.result(30).status_code == 409
        assert noted("/sdapi/v1/txt2img") == mine


# Files for monitors


def metrics_in(query: str) -> set[tuple[str, frozenset[str]]]:
    """Names and labels that a query asks for. Raises ValueError where it is no PromQL."""
    plain = query.replace("$__rate_interval", "5m").replace("$job", "studio")
    promql_parser.parse(plain)
    found = re.findall(r"\b((?:t2i|process)_[a-z0-9_]+|up)(?:\{([^}]*)\})?", plain)
    return {(name, frozenset(re.findall(r"([a-z]+)=~?\"", labels))) for name, labels in found}


def missing(queries: list[str], api: Served) -> set[str]:
    """What the queries ask for and the studio does not have, with labels of Prometheus' own left out."""
    api.get("/healthz")
    there: dict[str, set[str]] = {"up": set()}
    for name, labels in scraped(api):
        there.setdefault(name, set()).update(label for label, _ in labels)
    asked = set[tuple[str, frozenset[str]]]().union(*map(metrics_in, queries))
    assert asked
    return {
        f"{name} {set(labels)}"
        for name, labels in asked
        if name not in there or labels - there[name] - {"job", "instance"}
    }


def test_every_panel_of_the_dashboard_asks_for_what_there_is(api: Served, visits: Studio) -> None:
    busy_evening(visits)
    board = json.loads((DOCS / "grafana.json").read_text())
    assert board["schemaVersion"] == 42 and board["uid"] and board["title"]
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in panels:
        place = panel["gridPos"]
        assert panel["targets"] and panel["title"] and place["x"] + place["w"] <= 24, panel["title"]
    assert not missing([target["expr"] for panel in panels for target in panel["targets"]], api)
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert set(variables) == {"datasource", "job"}
    assert variables["job"]["definition"] == "label_values(t2i_info, job)"


def test_every_alert_asks_for_what_there_is(api: Served, visits: Studio) -> None:
    busy_evening(visits)
    (group,) = yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"]
    assert all(rule["alert"] and rule["annotations"]["summary"] for rule in group["rules"])
    assert not missing([rule["expr"] for rule in group["rules"]], api)


def test_the_docs_have_a_row_for_every_figure(api: Served, visits: Studio) -> None:
    busy_evening(visits)
    api.get("/healthz")
    rows = []
    for family in text_string_to_metric_families(api.get("/metrics").text):
        if family.name.startswith("t2i_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
            rows.append(f"| `{name}` | {family.type} | {', '.join(labels) or '-'} | {family.documentation} |")
    shown = [line for line in (ROOT / "docs/operations.md").read_text().splitlines() if line.startswith("| `t2i_")]
    assert sorted(shown) == sorted(rows), "\n".join(sorted(rows))
