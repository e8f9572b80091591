"""The end of a job is told to whoever asked, once, signed, and to nobody inside the host's network by mistake."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook as Signer
from standardwebhooks.webhooks import WebhookVerificationError

from api import webhooks
from api.webhooks import NotTold, address_of
from db.queue import notices
from db.schema import webhooks as table
from tests.api.serving import Served, awaited, until
from tests.pages.visits import Studio

Serve = Callable[..., Served]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """A program that is told, on loopback."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []  # for the next calls; 200 after those
        self.changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with receiver.changed:
                    receiver.heard.append(({k.lower(): v for k, v in self.headers.items()}, body))
                    status = receiver.answers.pop(0) if receiver.answers else 200
                    receiver.changed.notify_all()
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.heard) >= count, 30), f"heard {len(self.heard)}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "LOOK_S", 0.05)
    monkeypatch.setattr(notices, "BACKOFF_S", (0.05,) * 3)


def asked(api: Served, url: str, secret: str = SECRET) -> Any:
    body = {"engine": "vqgan-clip", "params": {"prompt": "a red heart"}, "webhook": {"url": url, "secret": secret}}
    answer = api.post("/api/v1/jobs", body)
    assert answer.status_code == 201, answer.text
    return answer.json()["jobs"][0]


def row(visits: Studio, wanted: Callable[[Any], bool], job_id: str | None = None) -> Any:
    """The notice, once it is as wanted. job_id: of which job, where there are several."""
    of = sa.select(table) if job_id is None else sa.select(table).where(table.c.job_id == job_id)

    def look() -> Any:
        with visits.db.connect() as conn:
            return conn.execute(of).one()

    return until(look, wanted)


def test_the_end_of_a_job_is_told_signed_and_once(serve: Serve, visits: Studio, receiver: Receiver) -> None:
    api = serve(api_private_webhooks=True)
    job = asked(api, f"http://localhost:{receiver.port}/hook?of=ada")
    visits.finish(visits.run())
    receiver.wait_for(1)
    headers, body = receiver.heard[0]
    told = Signer(SECRET).verify(body, headers)
    assert told["type"] == "job.succeeded" and told["data"] == api.get(job["url"]).json()
    assert headers["webhook-id"] == job["id"] and headers["content-type"] == "application/json"
    assert headers["host"] == f"localhost:{receiver.port}"
    with pytest.raises(WebhookVerificationError):
        Signer(SECRET).verify(body.replace(b"heart", b"house"), headers)
    assert row(visits, lambda found: found.told_at is not None).due_at is None
    assert SECRET not in api.get(job["url"]).text and "hook" not in api.get(job["url"]).text


def test_what_failed_is_tried_again_under_the_same_id(serve: Serve, visits: Studio, receiver: Receiver) -> None:
    api = serve(api_private_webhooks=True)
    receiver.answers = [500, 302]
    job = asked(api, f"http://127.0.0.1:{receiver.port}/")
    api.post(f"{job['url']}/cancel")
    receiver.wait_for(3)
    assert [headers["webhook-id"] for headers, _ in receiver.heard] == [job["id"]] * 3
    for headers, body in receiver.heard:
        assert Signer(SECRET).verify(body, headers)["type"] == "job.cancelled"
    found = row(visits, lambda found: found.told_at is not None)
    assert (found.tries, found.error) == (3, None)
    assert len(receiver.heard) == 3, "a redirection is not followed"


def test_who_answers_410_is_left_alone(serve: Serve, visits: Studio, receiver: Receiver) -> None:
    api = serve(api_private_webhooks=True)
    receiver.answers = [410]
    api.post(f"{asked(api, f'http://127.0.0.1:{receiver.port}/')['url']}/cancel")
    found = row(visits, lambda found: found.tries == 1)
    assert found.due_at is None and "no more of these" in found.error and len(receiver.heard) == 1


def test_nobody_is_called_for_ever(serve: Serve, visits: Studio, receiver: Receiver) -> None:
    api = serve(api_private_webhooks=True)
    receiver.answers = [503] * 9
    api.post(f"{asked(api, f'http://127.0.0.1:{receiver.port}/')['url']}/cancel")
    found = row(visits, lambda found: found.due_at is None)
    assert found.tries == 4 == len(receiver.heard) and "answered 503" in found.error


def test_what_one_server_could_not_tell_the_next_one_does(
    serve: Serve, visits: Studio, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "BACKOFF_S", (2.0,))
    first = serve(api_private_webhooks=True)
    receiver.answers = [500]
    job = asked(first, f"http://127.0.0.1:{receiver.port}/")
    visits.finish(visits.run())
    row(visits, lambda found: found.tries == 1)
    first.stop()
    serve(api_private_webhooks=True)
    receiver.wait_for(2)
    assert [headers["webhook-id"] for headers, _ in receiver.heard] == [job["id"]] * 2


def test_an_address_of_this_machine_is_not_called(serve: Serve, visits: Studio, receiver: Receiver) -> None:
    api = serve()
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0.0.0.0", "[::1]"):
        job = asked(api, f"http://{host}:{receiver.port}/")
        api.post(f"{job['url']}/cancel")
        found = row(visits, lambda found: found.tries == 1, job["id"])
        assert found.due_at is None and ("private network" in found.error or "no address" in found.error), host
    assert receiver.heard == []


def test_only_addresses_of_the_open_internet_are_called() -> None:
    for host in (
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255"),
        *("::", "fe80::1", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"),
    ):
        with pytest.raises(NotTold, match="private network") as refused:
            awaited(address_of(host, 80))
        assert not refused.value.again, host
    for host in ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"):
        assert awaited(address_of(host, 443)) == host
    assert awaited(address_of("10.0.0.1", 80, True)) == "10.0.0.1"
    with pytest.raises(NotTold, match="no address"):
        awaited(address_of("no-such-host.invalid", 80))


def test_what_nobody_can_be_told_at_is_refused_at_once(api: Served) -> None:
    for url, secret in (
        ("ftp://example.org/", SECRET),
        ("http://", SECRET),
        ("http://ada:secret@example.org/", SECRET),
        ("http://example.org:99999/", SECRET),
        ("http://exa\x00mple.org/", SECRET),
        ("http://[::1", SECRET),
        ("//example.org", SECRET),
        ("http://example.org/", "whsec_dG9vIHNob3J0" + "=" * 10),
        ("http://example.org/", "no base64 at all, at all!"),
        ("http://example.org/", "ünicode-ünicode-ünicode-ünicode"),
    ):
        body = {"params": {"prompt": "x"}, "webhook": {"url": url, "secret": secret}}
        answer = api.post("/api/v1/jobs", body)
        assert answer.status_code == 422 and "webhook" in answer.json()["detail"], answer.text
        assert secret not in answer.text


def test_a_secret_may_have_its_padding_or_not(api: Served) -> None:
    for secret in ("MDEyMzQ1Njc4OTAxMjM0NQ==", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3", "MDEyMzQ1Njc4OTAxMjM0NTY3OA"):
        asked(api, "https://example.org/", secret)


def test_a_sheets_jobs_are_told_one_by_one(serve: Serve, visits: Studio, receiver: Receiver) -> None:
    api = serve(api_private_webhooks=True)
    hook = {"url": f"http://127.0.0.1:{receiver.port}/", "secret": SECRET}
    job = visits.draw("a red heart")
    sheet = api.post(f"/api/v1/jobs/{job.id}/variations", {"count": 2, "webhook": hook}).json()
    api.post(f"{sheet['url']}/cancel")
    receiver.wait_for(2)
    told = {json.loads(body)["data"]["id"] for _, body in receiver.heard}
    assert told == {one["id"] for one in sheet["jobs"]}
