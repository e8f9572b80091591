"""Our stream from servers of EIR's protocol: ours, the tutorial's, ones that stop and ones that lie."""

from __future__ import annotations

import base64
import itertools
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from generator.learning.stream import messages
from generator.learning.stream.eir_client import EirStream, Patience
from generator.learning.stream.opening import open_stream
from generator.learning.stream.samples import DataProblem, Sample, is_validation
from tests.captioned_files import caption, picture, write_folder
from tests.unit.learning.test_streams_eir import served

QUICK = Patience(answer=5, all=1.0, first=0.01, most=0.05)


def take(stream: Any, count: int, **more: Any) -> list[Sample]:
    return list(itertools.islice(stream.samples("train", **more), count))


def test_a_server_of_ours_gives_what_the_folder_itself_gives(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "discs", 30)
    with served(folder) as (address, _):
        near, far = open_stream(folder, validation_share=0.2), open_stream(address, validation_share=0.2)
        assert far.length == near.length == 30
        for start in (0, 7, 24, 25, 60):
            assert take(far, 70, start=start, seed=5) == take(near, 70, start=start, seed=5)
        assert list(far.samples("validation")) == list(near.samples("validation"))
        far.close()


def test_a_connection_that_breaks_is_gone_on_with_where_it_was(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "discs", 200)
    with served(folder) as (address, _):
        stream = EirStream(address, validation_share=0.1, patience=QUICK)
        found = []
        for n, sample in enumerate(itertools.islice(stream.samples("train", seed=1), 500)):
            found.append(sample)
            if n % 90 == 50:
                for connection in stream._open:
                    connection.socket.shutdown(2)
        assert found == take(open_stream(folder, validation_share=0.1), 500, seed=1)


class Tutorial:
    """As EIR's tutorial serves: ids are positions, a reset zeroes the position and not the iterator, it sends as
    many as it likes, answers a reset to everybody, and never ends."""

    def __init__(self, count: int = 40) -> None:
        self.count, self.position, self.served = count, 0, 0
        self.everybody: list[ServerConnection] = []
        self.broken_after: int | None = None

    def __call__(self, connection: ServerConnection) -> None:
        self.everybody.append(connection)
        for text in connection:
            said = json.loads(text)
            match said["type"]:
                case "handshake":
                    connection.send(messages.message("handshake", version="1.0"))
                case "getInfo":
                    shown = {"image": {"type": "image", "shape": [3, 32, 32]}}
                    words = {"caption": {"type": "sequence", "shape": None}}
                    connection.send(messages.message("info", {"inputs": {**shown, **words}, "outputs": shown}))
                case "reset":
                    self.position = 0
                    connection.send(messages.message("resetConfirmation", {"message": "done"}))
                    for one in self.everybody:
                        one.send(messages.message("reset", {"message": "everybody"}))
                case "getData":
                    if self.broken_after is not None and self.served >= self.broken_after:
                        self.broken_after = None
                        self.everybody.remove(connection)
                        connection.socket.shutdown(2)
                        return
                    connection.send(messages.message("data", [self.sample() for _ in range(8)]))
        self.everybody.remove(connection)

    def sample(self) -> dict[str, Any]:
        number = self.served % self.count
        self.served, self.position = self.served + 1, self.position + 1
        coded = base64.b64encode(picture(number)).decode()
        return sample(f"sample_{self.position - 1}", caption(number), coded)


def sample(sample_id: str, text: str, coded: str) -> dict[str, Any]:
    return {
        "inputs": {"image": coded, "caption": text},
        "target_labels": {"image": {"image": coded}},
        "sample_id": sample_id,
    }


@contextmanager
def playing(handler: Callable[[ServerConnection], None], port: int = 0) -> Iterator[str]:
    with serve(handler, "127.0.0.1", port, compression=None, max_size=None, close_timeout=1) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/ws"
        finally:
            server.shutdown()
            thread.join(10)


def test_nothing_kept_for_validation_is_trained_on_though_ids_name_other_pictures_after_a_reset() -> None:
    tutorial = Tutorial()
    with playing(tutorial) as address:
        stream = EirStream(address, validation_share=0.25, patience=QUICK)
        assert stream.length is None
        tutorial.broken_after = 60
        trained = take(stream, 120)
        kept = list(itertools.islice(stream.samples("validation"), 50))
        again = take(EirStream(address, validation_share=0.25, patience=QUICK), 50)
        assert len(trained) == 120 and kept
        assert not {one.image for one in kept} & {one.image for one in [*trained, *again]}
        assert not {one.id for one in kept} & {one.id for one in [*trained, *again]}
        assert all(is_validation(one.id, 0.25) for one in kept)
        stream.close()


def test_a_server_that_starts_again_after_a_break_is_not_trained_on_twice() -> None:
    """Any server but ours: each connection begins with its first sample."""
    opened = itertools.count()

    def plain(connection: ServerConnection) -> None:
        position, served, breaks = 0, 0, next(opened) == 1
        for text in connection:
            match json.loads(text)["type"]:
                case "handshake":
                    connection.send(messages.message("handshake", version="1.0"))
                case "getInfo":
                    connection.send(INFO)
                case "reset":
                    position = 0
                    connection.send(messages.message("resetConfirmation", {"message": ""}))
                    connection.send(messages.message("reset", {"message": ""}))
                case "getData" if breaks and served == 2:
                    connection.socket.shutdown(2)
                    return
                case "getData" if position == 40:
                    connection.send(messages.TERMINATE)
                case "getData":
                    batch = [sample(f"s{n}", caption(n), GOOD) for n in range(position, position + 8)]
                    position, served = position + 8, served + 1
                    connection.send(messages.message("data", batch))

    with playing(plain) as address:
        stream = EirStream(address, validation_share=0, patience=QUICK)
        found = [one.caption for one in take(stream, 120)]
        assert found == [caption(n) for n in range(40)] * 3
        assert [one.caption for one in take(stream, 30, start=50)] == [caption(n % 40) for n in range(50, 80)]


GOOD = base64.b64encode(picture(1)).decode()
INFO = messages.message(
    "info",
    {"inputs": {"image": {"type": "image", "shape": [3, 32, 32]}, "caption": {"type": "sequence"}}, "outputs": {}},
)
FINE = messages.message("data", [sample("a", "a disc", GOOD)])


def liar(**answers: Any) -> Callable[[ServerConnection], None]:
    """A server that answers as agreed but for some requests; an answer is a text, bytes, or a function that sends."""
    fine = {
        "handshake": messages.message("handshake", version="1.0"),
        "getInfo": INFO,
        "reset": messages.message("resetConfirmation", {"message": ""}),
        "getData": FINE,
    }

    def play(connection: ServerConnection) -> None:
        for text in connection:
            answer = {**fine, **answers}.get(json.loads(text)["type"])
            if callable(answer):
                answer(connection)
            elif answer is not None:
                connection.send(answer)

    return play


def _info(**inputs: Any) -> str:
    return messages.message("info", {"inputs": inputs, "outputs": {}})


def _data(coded: str, text: str = "a disc") -> str:
    return messages.message("data", [sample("a", text, coded)])


def _endless(connection: ServerConnection) -> None:
    for _ in range(2000):
        connection.send('{"type":"heartbeat"}')


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


LIES: dict[str, tuple[Callable[[ServerConnection], None], str]] = {
    "another version": (liar(handshake=messages.message("handshake", version="9")), "speaks version '9'"),
    "no JSON": (liar(getInfo="hello"), "JSON object with a type"),
    "bytes": (liar(getInfo=pickle.dumps({"type": "info"})), "must be a text"),
    "an error": (liar(getInfo=messages.message("error", {"message": "busy"})), "it answers: busy"),
    "no payload": (liar(getInfo='{"type":"info"}'), "does not say what inputs and outputs it has"),
    "no picture": (liar(getInfo=_info(x={"type": "tabular"})), "needs an image and a sequence, and has x"),
    "a shape that is none": (
        liar(getInfo=_info(image={"type": "image", "shape": [3, -1, 9]}, caption={"type": "sequence"})),
        "channels, height and width are needed",
    ),
    "another shape than it said": (liar(getData=_data(_b64(picture(1, side=40)))), "32 x 32 px were promised, 40 x 40"),
    "a pickle": (liar(getData=_data(_b64(pickle.dumps({"a": 1})))), "not a picture"),
    "no base64": (liar(getData=_data("%%%")), "not base64"),
    "a picture that is too large": (liar(getData=_data("A" * (14 << 20))), "at most 10 are taken"),
    "a caption of 10,000 characters": (liar(getData=_data(GOOD, "x" * 10_000)), "10,000 characters; at most 8,000"),
    "no caption": (liar(getData=messages.message("data", [{"sample_id": "a", "inputs": {}}])), "without the text"),
    "no id": (liar(getData=messages.message("data", [{"inputs": {}}])), "without a sample_id"),
    "no samples": (liar(getData=messages.message("data", [])), "before it has sent a sample"),
    "no list": (liar(getData=messages.message("data", {"a": 1})), "no list"),
    "a million brackets": (liar(getData="[" * 3_000_000), "more than 2,000,000 values"),
    "nested brackets": (liar(getData="[" * 1_000_000), "JSON object with a type"),
    "a frame without end": (liar(getData="x" * (65 << 20)), "more than 64 MB"),
    "more samples than asked for": (liar(getData=messages.message("data", [0] * 5000)), "at most 4096 are taken"),
    "answers to nobody": (liar(getData=_endless), "without an answer"),
    "nothing": (lambda connection: connection.close(), "did not answer|broke off|breaks off"),
    "an end after a while": (liar(getData=lambda c: c.close()), "breaks off again and again"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_a_server_may_not_send_is_one_sentence(lie: str) -> None:
    handler, said = LIES[lie]
    with playing(handler) as address, pytest.raises(DataProblem, match=said) as raised:
        take(EirStream(address, validation_share=0, patience=QUICK), 3)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 500


def test_validation_is_read_once_from_a_server_that_begins_again_without_an_end() -> None:
    with playing(liar()) as address:
        stream = EirStream(address, validation_share=0.999, patience=QUICK)
        assert [one.caption for one in stream.samples("validation")] == ["a disc"]


def test_a_stream_that_is_closed_ends_its_readings(tmp_path: Path) -> None:
    with served(write_folder(tmp_path / "discs", 300)) as (address, _):
        stream = EirStream(address, validation_share=0, patience=QUICK)
        reading = stream.samples("train")
        next(reading)
        stream.close()
        with pytest.raises(DataProblem, match="closed here"):
            list(itertools.islice(reading, 300))


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    with playing(liar()) as address:
        pass
    with pytest.raises(DataProblem, match="did not answer within 1 s"):
        EirStream(address, validation_share=0, patience=QUICK)
    with pytest.raises(DataProblem, match="is no address"):
        open_stream("ws://", validation_share=0)


def test_a_server_that_comes_back_is_gone_on_with(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "discs", 100)
    patient = Patience(answer=5, all=20, first=0.01, most=0.1)
    with served(folder) as (address, _):
        stream = EirStream(address, validation_share=0, patience=patient)
        reading = stream.samples("train")
        first = [next(reading) for _ in range(30)]
    port = int(address.split(":")[2].partition("/")[0])
    with served(folder, port=port):
        found = [*first, *itertools.islice(reading, 100)]
        assert found == take(open_stream(folder, validation_share=0), 130)
        reading.close()


def test_a_server_that_comes_back_with_other_data_is_not_gone_on_with(tmp_path: Path) -> None:
    with served(write_folder(tmp_path / "a", 200)) as (address, _):
        reading = EirStream(address, validation_share=0, patience=QUICK).samples("train")
        next(reading)
    port = int(address.split(":")[2].partition("/")[0])
    with (
        served(write_folder(tmp_path / "b", 50), port=port),
        pytest.raises(DataProblem, match="other data than before"),
    ):
        list(itertools.islice(reading, 400))
