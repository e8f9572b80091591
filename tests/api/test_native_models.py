"""Models for programs: taken home as one file, and brought along as one by whoever has the host's key."""

from __future__ import annotations

import errno
import io
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from api.client_training import Trainer
from db.artefacts import Store
from tests.api.serving import Served
from tests.brought_models import caption_model, lora

Key = Callable[..., dict[str, str]]
MODELS = "/api/v1/models"
NAME = "caption-diffusion/discs"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return caption_model(tmp_path_factory.mktemp("models") / "from-elsewhere.safetensors")


def sent(api: Served, key: dict[str, str], data: bytes, query: str = "name=discs") -> Any:
    headers = {**key, "content-type": "application/octet-stream"}
    return api.client.post(f"{MODELS}?{query}", content=data, headers=headers)


def test_a_model_comes_in_and_goes_out_as_the_same_file(api: Served, key: Key, file: Path) -> None:
    answer = sent(api, key("host"), file.read_bytes())
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["name"], made["engine"], made["job_id"], made["licence"]) == (NAME, "latent-diffusion", None, "CC0")
    assert api.get(MODELS).json()["models"] == [made] and made["card"]["imported"]
    assert NAME in api.get("/api/v1/engines/latent-diffusion").json()["checkpoints"], "it can be drawn with at once"
    home = api.get(made["file_url"])
    assert home.content == file.read_bytes()
    assert 'filename="discs.safetensors"' in home.headers["content-disposition"]
    part = api.get(made["file_url"], headers={"range": "bytes=8-8"})
    assert (part.status_code, part.content) == (206, b"{")
    assert api.get(f"{MODELS}/caption-diffusion/none/file").status_code == 404


def test_a_lora_of_another_tool_is_named_in_prompts(api: Served, key: Key, tmp_path: Path) -> None:
    data = lora(tmp_path / "x.safetensors").read_bytes()
    made = sent(api, key("host"), data, "name=ink&licence=mine").json()
    assert (made["name"], made["engine"], made["licence"]) == ("lora/ink", None, "mine")
    assert [one["name"] for one in api.get("/sdapi/v1/loras").json()] == ["ink"]


def test_only_the_hosts_key_brings_and_removes(api: Served, key: Key, file: Path) -> None:
    for other in ({}, key("read"), key("submit")):
        assert sent(api, other, file.read_bytes()).status_code == 403
    sent(api, key("host"), file.read_bytes())
    assert api.client.delete(f"{MODELS}/{NAME}", headers=key("submit")).status_code == 403
    assert api.client.delete(f"{MODELS}/{NAME}", headers=key("host")).json()["name"] == NAME
    assert api.get(MODELS).json()["models"] == []
    assert api.client.delete(f"{MODELS}/{NAME}", headers=key("host")).status_code == 404


def test_what_cannot_be_taken_is_answered_with_a_sentence(
    serve: Callable[..., Served], key: Key, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, mine = file.read_bytes(), key("host")
    api = serve()
    for query, body, status, says in (
        ("name=../x", data, 422, "is no name for a model"),
        ("name=", data, 422, "name"),
        ("name=discs", data[:-8], 422, "cut short"),
        ("name=discs", b"\x80\x04K\x01.", 422, "it is a pickle"),
        ("name=discs", b"", 422, "it is empty"),
        ("name=discs", data, 201, NAME),
        ("name=discs", data, 409, "choose another one"),
    ):
        answer = sent(api, mine, body, query)
        assert answer.status_code == status and says in answer.text, answer.text
    assert len(api.get(MODELS).json()["models"]) == 1


def test_a_file_that_is_too_large_or_finds_no_room_is_refused_before_it_comes(
    serve: Callable[..., Served], key: Key, file: Path
) -> None:
    data, mine = file.read_bytes(), key("host")
    assert sent(serve(max_model_bytes=2000, api_max_body_bytes=1024), mine, data).status_code == 413
    full = sent(serve(min_free_bytes=1 << 60), mine, data)
    assert full.status_code == 507 and full.json()["detail"]


@pytest.mark.parametrize("address", [f"{MODELS}?name=a%20b", "/api/v1/datasets?name=%20"])
def test_nobody_sends_a_file_that_would_be_refused_anyway(api: Served, key: Key, address: str) -> None:
    told = {"Host": "localhost", "Content-Length": str(50 << 20), "Authorization": key("host")["authorization"]}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    where = urlsplit(api.address)
    with socket.create_connection((where.hostname, where.port or 80), timeout=30) as line:
        line.sendall(f"POST {address} HTTP/1.1\r\n{head}\r\n".encode())
        assert b" 422 " in line.recv(1000), "it is answered before a byte of the file is sent"


@pytest.mark.parametrize("address", [f"{MODELS}?name=discs", "/api/v1/datasets?name=Discs"])
def test_a_disk_that_fills_while_a_file_comes_is_a_sentence(
    api: Served, key: Key, file: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("api.native.sent.open", lambda *_: Full(), raising=False)
    answer = api.client.post(address, content=file.read_bytes(), headers=key("host"))
    assert answer.status_code == 507 and "space" in answer.json()["detail"]


def test_a_store_elsewhere_sends_the_file_too(
    api: Served, key: Key, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sent(api, key("host"), file.read_bytes()).json()
    monkeypatch.setattr(Store, "local_path", lambda store, key: None)
    home = api.get(made["file_url"])
    assert home.content == file.read_bytes() and home.headers["content-length"] == str(len(home.content))


def test_the_client_carries_a_model_from_one_studio_to_another(
    api: Served, key: Key, file: Path, tmp_path: Path
) -> None:
    studio = Trainer(api.address, key("host")["authorization"].removeprefix("Bearer "))
    assert studio.import_model(file, "discs")["name"] == NAME
    assert studio.export_model(NAME, tmp_path / "out.safetensors").read_bytes() == file.read_bytes()
    assert studio.import_model(tmp_path / "out.safetensors", "again")["name"] == "caption-diffusion/again"
    studio.close()
