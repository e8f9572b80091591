"""Our server of EIR's protocol, asked as an EIR trainer asks: by a client written from the protocol alone."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from generator.learning.stream.eir_server import EirServer, Options
from generator.learning.stream.opening import open_source
from tests.captioned_files import caption, picture, write_folder


@contextmanager
def served(folder: Path, *, port: int = 0, **options: Any) -> Iterator[tuple[str, EirServer]]:
    """A server in a thread of its own, at an address."""
    source = open_source(folder)
    server = EirServer(source, Options(**{"epochs": 1, **options}))
    loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        nonlocal port
        async with server.listening(port=port) as listening:
            port = listening.sockets[0].getsockname()[1]
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield f"ws://127.0.0.1:{port}/ws", server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(20)
        loop.close()
        server.close()
        source.close()


class Trainer:
    """One connection of an EIR trainer."""

    def __init__(self, address: str, **more: Any) -> None:
        self.ws: ClientConnection = connect(
            address, compression=None, max_size=None, ping_interval=None, **more
        ).__enter__()
        self.say("handshake", version="1.0", worker_id=0)
        assert self.hear() == {"type": "handshake", "version": "1.0"}

    def say(self, kind: str, payload: Any = None, **more: Any) -> None:
        said = {"type": kind, **more} if payload is None else {"type": kind, "payload": payload}
        self.ws.send(json.dumps(said))

    def hear(self) -> Any:
        return json.loads(self.ws.recv(timeout=10))

    def ask(self, kind: str, payload: Any = None) -> Any:
        self.say(kind, payload)
        return self.hear()

    def data(self, count: int) -> list[Any]:
        said = self.ask("getData", {"batch_size": count})
        assert said["type"] == "data"
        return list(said["payload"])

    def checked(self) -> Trainer:
        """As each worker does before it reads: a sample that is thrown away, and a reset with two answers."""
        assert self.ask("getInfo")["type"] == "info"
        self.data(1)
        assert self.ask("heartbeat") == {"type": "heartbeat"}
        self.say("reset")
        assert [self.hear()["type"], self.hear()["type"]] == ["resetConfirmation", "reset"]
        return self

    def epoch(self, count: int = 4) -> list[Any]:
        found: list[Any] = []
        while (batch := self.data(count)) != ["terminate"]:
            assert batch
            found += batch
        return found

    def close(self) -> None:
        self.ws.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "discs", 10)


def ids(samples: list[Any]) -> list[str]:
    return [one["sample_id"] for one in samples]


def test_all_seven_messages_are_answered_as_the_trainer_expects(folder: Path) -> None:
    with served(folder) as (address, _):
        trainer = Trainer(address)
        info = trainer.ask("getInfo")
        shown = {"type": "image", "shape": None, "mode": "RGB"}
        inputs = {"image": shown, "caption": {"type": "sequence", "shape": None}}
        assert info == {"type": "info", "payload": {"inputs": inputs, "outputs": {"image": shown}}}
        sample = trainer.data(1)[0]
        number = int(sample["sample_id"][5:9])
        coded = base64.b64encode(picture(number)).decode()
        assert sample == {
            "inputs": {"image": coded, "caption": caption(number)},
            "target_labels": {"image": {"image": coded}},
            "sample_id": f"disc-{number:04}.png",
        }
        said = trainer.ask("setValidationIds", {"validation_ids": ["disc-0001.png", "disc-0002.png"]})
        assert said["type"] == "validationIdsConfirmation" and said["payload"]["message"] == "2 ids are left out."
        status = trainer.ask("status", {})["payload"]
        assert status["active_connections"] == 1 and status["validation_ids_count"] == 2
        assert status["current_position"] == 1
        assert trainer.ask("heartbeat") == {"type": "heartbeat"}
        trainer.checked()
        assert len(trainer.epoch()) == 8
        trainer.close()


def test_ids_name_the_same_pictures_after_a_reset_and_for_every_worker(folder: Path) -> None:
    with served(folder) as (address, _):
        first, second = Trainer(address).checked(), Trainer(address).checked()
        epochs = [first.epoch(), second.epoch(3)]
        first.checked()
        epochs.append(first.epoch(7))
        named = [{one["sample_id"]: one["inputs"]["image"] for one in epoch} for epoch in epochs]
        assert named[0] == named[1] == named[2] and len(named[0]) == 10
        assert ids(epochs[0]) != ids(epochs[1]), "workers are sent the same batches"
        assert first.data(4) == ["terminate"], "an end that is not asked about once only stays the end"
        first.close()
        second.close()


def test_a_reset_disturbs_no_other_worker(folder: Path) -> None:
    with served(folder) as (address, _):
        one, other = Trainer(address).checked(), Trainer(address)
        before = one.data(4)
        other.checked()
        after = one.epoch()
        assert len({*ids(before), *ids(after)}) == 10
        one.close()
        other.close()


def test_asking_more_often_than_reading_loses_nothing(folder: Path) -> None:
    """EIR sends a heartbeat and a getData before every message that it reads."""
    with served(folder, epochs=300) as (address, _):
        trainer = Trainer(address).checked()
        found: list[str] = []
        for _ in range(3000):
            trainer.say("heartbeat")
            trainer.say("getData", {"batch_size": 2})
            said = trainer.hear()
            if said["type"] == "data":
                assert said["payload"] != ["terminate"]
                found += ids(said["payload"])
        assert len(found) == 3000
        for epoch in range(300):
            assert len({*found[10 * epoch : 10 * epoch + 10]}) == 10
        trainer.ws.socket.shutdown(2)


def test_ten_thousand_requests_may_wait_while_nothing_is_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x", 8)
    for n in range(8):
        (folder / f"disc-{n:04}.png").write_bytes(picture(n) + bytes(50_000))  # more than sockets hold
    with served(folder, epochs=0) as (address, server):
        idle, busy = Trainer(address).checked(), Trainer(address).checked()
        for _ in range(10_000):
            idle.say("getData", {"batch_size": 8})
        assert len(busy.data(8)) == 8, "others are served meanwhile"
        assert server.waiting > 5000
        assert all(len(idle.hear()["payload"]) == 8 for _ in range(50))
        idle.ws.socket.shutdown(2)
        busy.close()


def test_what_one_connection_keeps_for_validation_no_worker_of_its_trainer_is_sent(folder: Path) -> None:
    kept = ["disc-0003.png", "disc-0007.png"]
    with served(folder) as (address, _):
        early, setup = Trainer(address).checked(), Trainer(address)
        setup.ask("setValidationIds", {"validation_ids": [*kept, "unknown"]})
        setup.close()
        late = [Trainer(address).checked() for _ in range(3)]
        for worker in [early, *late]:
            assert {*ids(worker.epoch())} == {f"disc-{n:04}.png" for n in range(10)} - {*kept}
            worker.checked()
            assert not {*ids(worker.epoch())} & {*kept}
            worker.close()


def test_trainers_under_different_paths_keep_their_own_and_under_one_path_neither_leaks(folder: Path) -> None:
    with served(folder) as (address, _):
        names = [f"disc-{n:04}.png" for n in range(10)]
        one, other, third = (Trainer(f"{address}/{path}").checked() for path in ("1", "2", "1"))
        Trainer(f"{address}/1").ask("setValidationIds", {"validation_ids": names[:2]})
        Trainer(f"{address}/2").ask("setValidationIds", {"validation_ids": names[2:5]})
        assert one.data(1) and third.data(1)  # at work
        said = Trainer(f"{address}/1").ask("setValidationIds", {"validation_ids": names[5:7]})
        assert "a path of its own" in said["payload"]["message"]
        for worker, left_out in ((one, {*names[:2], *names[5:7]}), (other, {*names[2:5]}), (third, {*names[:2]})):
            worker.checked()
            assert not {*ids(worker.epoch())} & left_out


def test_a_trainer_that_is_begun_anew_keeps_other_ids(folder: Path) -> None:
    with served(folder) as (address, _):
        for kept in ("disc-0001.png", "disc-0002.png", "disc-0003.png"):
            setup = Trainer(address)
            setup.ask("setValidationIds", {"validation_ids": [kept]})
            setup.close()
            worker = Trainer(address).checked()
            assert len([*worker.data(3), *worker.data(10)]) == 9, "what an earlier run kept is used again"
            worker.close()
            _until_nobody(address)


def _until_nobody(address: str) -> None:
    for _ in range(200):
        with connect(f"{address}/other", compression=None) as ws:
            ws.send('{"type":"handshake","version":"1.0"}')
            ws.recv(timeout=10)
            ws.send('{"type":"status"}')
            if json.loads(ws.recv(timeout=10))["payload"]["active_connections"] == 1:
                return


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"type":"handshake","version":"2.0"}', "must be '1.0'"),
        ('{"type":"getInfo"}', "must be a handshake"),
        ("no json", "a JSON object with a type"),
        ("[" * 100_000, "a JSON object with a type"),
    ],
)
def test_a_bad_greeting_is_one_sentence_and_the_end(text: str, said: str, folder: Path) -> None:
    with served(folder) as (address, _), connect(address, compression=None) as ws:
        ws.send(text)
        error = json.loads(ws.recv(timeout=10))
        assert error["type"] == "error" and said in error["payload"]["message"]
        with pytest.raises(ConnectionClosed):
            ws.recv(timeout=10)


@pytest.mark.parametrize("payload", [None, {}, {"batch_size": 0}, {"batch_size": "all"}, {"batch_size": True}, []])
def test_a_bad_request_is_an_error_and_the_connection_goes_on(payload: Any, folder: Path) -> None:
    with served(folder) as (address, _):
        trainer = Trainer(address)
        assert trainer.ask("getData", payload)["type"] == "error"
        assert trainer.ask("unheard of")["type"] == "error"
        assert trainer.ask("setValidationIds", {"validation_ids": "all"})["type"] == "error"
        assert len(trainer.data(3)) == 3
        trainer.close()


def test_a_setup_is_sent_each_sample_once_and_a_worker_as_often_as_it_was_said(folder: Path) -> None:
    """EIR trains until it is told the end, whatever its n_epochs says; its setup reads up to 10,000 samples."""
    with served(folder, epochs=3) as (address, _):
        setup, worker = Trainer(address).checked(), Trainer(address).checked()
        setup.ask("getInfo")
        assert len(setup.epoch()) == 10
        orders = [ids(found) for found in zip(*[iter(worker.epoch(5))] * 10, strict=True)]
        assert len(orders) == 3 and all(len({*one}) == 10 for one in orders) and orders[0] != orders[1]
        setup.close()
        worker.close()


def test_pages_of_other_sites_are_refused_and_eir_s_own_origin_is_not(folder: Path) -> None:
    with served(folder) as (address, _):
        Trainer(address, origin=f"http://{address.split('/')[2]}").close()
        with pytest.raises(InvalidStatus), connect(address, origin="http://elsewhere.example"):
            pass


def test_pictures_are_decoded_once_at_most_and_sent_as_they_are_where_they_fit(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x", 6)
    (folder / "disc-0000.png").write_bytes(picture(0, mode="RGBA"))
    (folder / "disc-0001.png").write_bytes(picture(1, kind="TIFF"))
    (folder / "disc-0002.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with served(folder, epochs=4, memory=600) as (address, server):
        found = Trainer(address).epoch()
        assert len(found) == 20 and server.prepared.decoded == 2
        for one in found:
            data = base64.b64decode(one["inputs"]["image"])
            assert Image.open(io.BytesIO(data)).mode == "RGB"
            if one["sample_id"][5:9] in ("0003", "0004", "0005"):
                assert data == (folder / one["sample_id"]).read_bytes()


def test_a_size_holds_for_every_picture(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x", 5)
    (folder / "disc-0000.png").write_bytes(picture(0, side=90))
    with served(folder, size=32, image="art", output="drawn", caption="words") as (address, server):
        trainer = Trainer(address)
        info = trainer.ask("getInfo")["payload"]
        assert info["inputs"]["art"]["shape"] == info["outputs"]["drawn"]["shape"] == [3, 32, 32]
        for one in trainer.epoch():
            for coded in (one["inputs"]["art"], one["target_labels"]["drawn"]["drawn"]):
                assert Image.open(io.BytesIO(base64.b64decode(coded))).size == (32, 32)
        assert server.prepared.decoded == 1
        trainer.close()


def test_names_of_files_that_a_trainer_makes_of_ids_are_names_everywhere(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x", 5)
    (folder / "in a folder").mkdir()
    (folder / "in a folder" / "猫.png").write_bytes(picture(7))
    (folder / "in a folder" / "猫.txt").write_text("a cat")
    with served(folder) as (address, _):
        first, second = ({*ids(Trainer(address).epoch())} for _ in range(2))
        assert first == second and len(first) == 6
        assert all("/" not in one and one.isascii() for one in first)
