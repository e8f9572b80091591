"""Who may call: by a key, from this machine, or not at all; and whose turn it is then."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from api.__main__ import main
from api.server import Beside, build
from db import queue
from db.rules import host_rules, keys
from db.rules.keys import SCOPES
from settings import Settings
from tests.api.serving import Served, awaited
from tests.pages.visits import SOMEBODY, Studio, picture_bytes

Serve = Callable[..., Served]
Key = Callable[..., dict[str, str]]
ME = "/api/v1/me"
DRAW = {"engine": "vqgan-clip", "params": {"prompt": "a red heart"}}


def refused(answer: httpx.Response, status: int, says: str) -> None:
    assert answer.status_code == status and says in answer.json()["detail"], answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def raw(api: Served, request: bytes) -> bytes:
    """What is answered to these very bytes."""
    with socket.create_connection(("127.0.0.1", int(api.address.rsplit(":")[-1]))) as line:
        line.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        return b"".join(iter(lambda: line.recv(65536), b""))


def test_a_key_is_shown_in_three_ways_and_a_wrong_one_in_none(serve: Serve, visits: Studio) -> None:
    api = serve(api="keys")
    secret, key = keys.make(visits.db, "a bot")
    basic = base64.b64encode(f"anybody:{secret}".encode()).decode()
    for headers in (
        {"authorization": f"Bearer {secret}"},
        {"authorization": f"bearer   {secret}"},
        {"authorization": f"Basic {basic}"},
        {"x-api-key": secret},
    ):
        assert api.get(ME, headers=headers).json()["key"] == "a bot", headers
    for headers in (
        {},
        {"authorization": "Bearer t2i_wrong"},
        {"authorization": f"Bearer {secret[:-1]}"},
        {"authorization": "Bearer"},
        {"authorization": "Basic !!"},
        {"authorization": f"Basic {base64.b64encode(bytes([255, 254])).decode()}"},
        {"authorization": f"Digest {secret}"},
        {"x-api-key": key.id},
        {"x-api-key": key.submitter},
    ):
        answer = api.get(ME, headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer"), headers
        assert answer.json()["kind"] == "wrong_key"
    assert b" 401 " in raw(api, b"GET /api/v1/me HTTP/1.1\r\nHost: a\r\nAuthorization: Basic \xff\xfe\r\n\r\n")
    keys.revoke(visits.db, key.id)
    refused(api.get(ME, headers={"x-api-key": secret}), 401, "revoked")


def test_a_scope_is_enough_or_what_is_needed_is_said(serve: Serve, visits: Studio, key: Key) -> None:
    api = serve(api="keys")
    for scope in SCOPES:
        headers, allowed = key(scope), SCOPES.index(scope)
        for need, (method, path) in enumerate((("GET", ME), ("POST", "/api/v1/jobs"), ("POST", "/api/v1/host/resume"))):
            answer = api.client.request(method, path, json=DRAW, headers=headers)
            if need <= allowed:
                assert answer.is_success, answer.text
            else:
                refused(answer, 403, f"has the scope {scope!r}; this needs {SCOPES[need]!r}")


def test_each_mode_lets_in_whom_it_says(serve: Serve, visits: Studio, key: Key) -> None:
    for mode, without_a_key in (("local", 200), ("open", 200), ("keys", 401)):
        api = serve(api=mode)
        assert api.get(ME).status_code == without_a_key, mode
        assert api.get(ME, headers=key("read")).json()["scope"] == "read", mode
        refused(api.get(ME, headers={"x-api-key": "t2i_wrong"}), 401, "not known here")
        # Clients that cannot do without a key send anything.
        assert api.get(ME, headers={"authorization": "Bearer sk-anything"}).status_code == without_a_key, mode
    for mode in ("local", "open"):
        refused(serve(api=mode).post("/api/v1/host/pause"), 403, "Without a key you have the scope 'submit'")


def test_switched_off_nothing_but_the_health_is_told(serve: Serve, visits: Studio, key: Key) -> None:
    api = serve(api="off")
    assert api.get("/healthz").json() == {"status": "ok"}
    for path in (ME, "/api/v1/jobs", "/api/docs", "/api/openapi.json", "/v1/models", "/readyz", "/metrics", "/mcp"):
        for method in ("GET", "POST"):
            answer = api.client.request(method, path, json=DRAW, headers=key("host"))
            assert answer.status_code == 404 and "T2I_API" in answer.text, path
    assert queue.list_jobs(visits.db) == []


def test_switched_off_the_pages_are_served_beside_it() -> None:
    awaited(_beside_it())


async def _beside_it() -> None:
    async def pages(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a page"})

    app = Beside(pages, build(Settings(api="off")))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://studio") as client:
        for path in ("/", "/queue", "/apidocs", "/_stcore/health", "/poster"):
            assert (await client.get(path)).text == "a page", path
        for path in ("/api/v1/jobs", "/v1/images/generations", "/sdapi/v1/txt2img", "/post", "/metrics"):
            answer = await client.get(path)
            assert answer.status_code == 404 and "switched off" in answer.text, path
        assert (await client.get("/healthz")).json() == {"status": "ok"}


def test_a_proxy_and_a_strangers_name_for_this_machine_need_a_key(serve: Serve, visits: Studio, key: Key) -> None:
    api = serve()
    port = api.address.rsplit(":")[-1]
    for headers in (
        {"x-forwarded-for": "203.0.113.9"},
        {"x-forwarded-for": "127.0.0.1"},
        {"forwarded": "for=127.0.0.1"},
        {"x-real-ip": "127.0.0.1"},
        {"via": "1.1 proxy"},
        {"host": "studio.example.org"},
        {"host": f"evil.example.org:{port}"},
        {"host": "127.0.0.1.example.org"},
        {"host": "[::1"},
    ):
        refused(api.get(ME, headers=headers), 401, "A key is needed")
        assert api.get(ME, headers={**headers, **key("read")}).status_code == 200
    for host in (f"localhost:{port}", "LOCALHOST", f"127.0.0.1:{port}", f"[::1]:{port}"):
        assert api.get(ME, headers={"host": host}).status_code == 200


def test_a_page_of_another_site_needs_a_key(serve: Serve, visits: Studio, key: Key) -> None:
    api = serve(api="open")
    own = api.address
    for origin in ("https://evil.example.org", "null", "http://127.0.0.1:1", "//[", f"{own}.example.org"):
        for answer in (api.get(ME, headers={"origin": origin}), api.post("/api/v1/jobs", headers={"origin": origin})):
            refused(answer, 403, "without a key")
        assert api.get(ME, headers={"origin": origin, **key("read")}).status_code == 200
    assert api.get(ME, headers={"origin": own}).status_code == 200
    named = serve(api="open", api_cors="https://app.example.org, https://other.example.org")
    answer = named.get(ME, headers={"origin": "https://app.example.org"})
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "https://app.example.org"
    refused(named.get(ME, headers={"origin": "https://evil.example.org"}), 403, "without a key")
    assert "access-control-allow-origin" not in api.get(ME).headers, "off unless it is set"
    assert serve(api="open", api_cors="*").get(ME, headers={"origin": "https://any.example.org"}).status_code == 200


def test_a_keys_own_limits_prevail_over_the_hosts(serve: Serve, visits: Studio, key: Key) -> None:
    api = serve(max_queued_per_submitter=1)
    wide, narrow = key(max_queued=3), key(max_per_hour=1)
    for _ in range(3):
        assert api.post("/api/v1/jobs", DRAW, headers=wide).status_code == 201
    over = api.post("/api/v1/jobs", DRAW, headers=wide)
    refused(over, 429, "3 jobs waiting")
    assert over.headers["retry-after"] == "10"
    host_rules.change(visits.db, max_per_hour=50)
    assert api.post("/api/v1/jobs", DRAW, headers=narrow).status_code == 201
    hourly = api.post("/api/v1/jobs", DRAW, headers=narrow)
    refused(hourly, 429, "may ask for 1")
    assert hourly.headers["retry-after"] == "300"


def test_a_key_is_one_in_the_fair_order_and_so_are_callers_of_one_address(
    serve: Serve, visits: Studio, key: Key
) -> None:
    api, bot = serve(), key()
    order = []
    for who in (bot, bot, {}, {}):
        order.append(api.post("/api/v1/jobs", DRAW, headers=who).json()["jobs"][0]["id"])
    visitor = visits.enqueue("a visitor's", SOMEBODY)
    served = [job.id for job in queue.queued_jobs(visits.db)]
    assert served == [order[0], order[2], visitor.id, order[1], order[3]]
    another = httpx.get(f"{api.address}/api/v1/jobs?mine=true").json()["jobs"]
    assert {job["id"] for job in another} == {order[2], order[3]}, "another client of this address is the same"
    assert [job["mine"] for job in api.get("/api/v1/jobs", headers=bot).json()["jobs"]] == [False] * 3 + [True] * 2
    foreign = api.post(f"/api/v1/jobs/{order[0]}/cancel")
    refused(foreign, 403, "somebody else")
    queue_ids = {job.submitter for job in queue.queued_jobs(visits.db)}
    assert not any("127.0.0.1" in one for one in queue_ids), "no address is kept"


def test_a_banned_key_is_told_so(serve: Serve, visits: Studio, key: Key) -> None:
    api, host, bot = serve(), key("host"), key()
    api.post("/api/v1/jobs", DRAW, headers=bot)
    (visitor,) = api.get("/api/v1/host/visitors", headers=host).json()["visitors"]
    api.post(f"/api/v1/host/visitors/{visitor['handle']}/ban", headers=host)
    refused(api.post("/api/v1/jobs", DRAW, headers=bot), 403, "closed the queue")


def test_keys_are_made_listed_and_revoked_by_command(
    visits: Studio, serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("T2I_DATABASE_URL", visits.db.url.render_as_string(hide_password=False))
    assert main(["key", "make", "a bot", "--scope", "read", "--max-queued", "5", "--max-per-hour", "9"]) == 0
    made = capsys.readouterr()
    secret = made.out.strip()
    assert secret.startswith("t2i_") and "Keep it now" in made.err and secret not in made.err
    api = serve(api="keys")
    assert api.get(ME, headers={"x-api-key": secret}).json()["scope"] == "read"
    assert main(["key", "list"]) == 0
    listed = capsys.readouterr().out
    assert "read" in listed and "a bot, 5 waiting, 9 an hour" in listed and secret not in listed
    key_id = listed.split()[0]
    assert main(["key", "revoke", key_id]) == 0 and "revoked" in capsys.readouterr().out
    assert api.get(ME, headers={"x-api-key": secret}).status_code == 401
    for wrong in (["revoke", "none"], ["make", "x" * 99], ["make", "x", "--max-queued", "0"]):
        assert main(["key", *wrong]) == 2
        said = capsys.readouterr()
        assert len(said.err.splitlines()) == 1 and not said.out
    with pytest.raises(SystemExit) as usage:
        main(["key", "make", "x", "--scope", "root"])
    assert usage.value.code == 2


def test_alone_and_switched_off_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("T2I_API", "off")
    assert main([]) == 2 and "T2I_API=off" in capsys.readouterr().err
    monkeypatch.setenv("T2I_API", "everybody")
    assert main([]) == 2 and "T2I_API" in capsys.readouterr().err


def test_the_document_says_how_a_key_is_shown_and_errors_are_told(api: Served) -> None:
    document = api.get("/api/openapi.json").json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert {"401", "403", "404", "422", "429"} <= operation["responses"].keys(), path
    assert "HTTPValidationError" not in json.dumps(document)


def test_nothing_is_read_of_who_may_not_call(serve: Serve) -> None:
    api = serve(api="keys")
    broken = api.client.post("/api/v1/jobs", content=b"{", headers={"content-type": "application/json"})
    assert broken.status_code == 401
    long = b'{"params": {"a": [' + b"[]," * 2_000_000 + b"[]]}}"
    assert api.client.post("/v1/images/generations", content=long).status_code == 401


def test_many_small_values_are_refused_before_they_are_read(api: Served) -> None:
    body = {"params": {"prompt": "a red heart", "a": [0] * 60_000}}
    refused = api.post("/api/v1/jobs", body)
    assert refused.status_code == 413 and "too many values" in refused.json()["detail"]


def test_no_name_of_another_type_lets_many_values_pass(api: Served) -> None:
    body = b'{"text_prompts": [' + b"[]," * 60_000 + b"[]]}"
    for path in ("/api/v1/jobs", "/predict/disco_diffusion_clip_vitb32", "/v1/images/edits", "/mcp"):
        for kind in ("application/octet-stream", "application/octet-stream+json", "image/x+json"):
            for kinds in ([kind], ["application/json", kind]):
                answer = api.client.post(path, content=body, headers=[("content-type", one) for one in kinds])
                refused = "many values" in answer.text or "no picture in the field" in answer.text  # not read at all
                assert refused, (path, kinds, answer.text)


def test_files_are_no_values(api: Served) -> None:
    noise = picture_bytes("PNG") + b"," * 60_000
    assert api.client.post("/api/v1/uploads", content=noise).status_code == 201
    told = api.client.post("/v1/images/edits", files={"other": ("a.png", noise)})
    assert "other" in told.json()["error"]["message"], "it was read"


def test_who_holds_back_a_body_does_not_keep_the_server_from_ending(serve: Serve) -> None:
    api = serve()
    head = b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", int(api.address.rsplit(":")[-1]))) as line:
        line.sendall(head + b"Content-Length: 100\r\n\r\n{")
        api.get("/healthz")  # by then the server has it
        api.stop()
        assert b" 503 " in b"".join(iter(lambda: line.recv(65536), b""))
