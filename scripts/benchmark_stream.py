"""Samples a second from our server of EIR's protocol over loopback, beside the tutorial's way of serving.

    python scripts/benchmark_stream.py [--side 128] [--seconds 4] [--rounds 3] [--clients 1] [--json stream.json]

Three servers send the same pictures, JPEG as the tutorial sends them, and take turns in each round:
ours       python -m generator.training.stream: files as they are, base64 made once; a client of the plain protocol
resumable  the same server, read by this studio's own trainer: EirStream, whose pictures come once a sample and are
           checked
tutorial   decodes, scales and encodes each picture each time, as the tutorial's server does, one process; a client of
           the plain protocol

Clients parse what they get, in processes of their own, and share the cores with the server.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import io
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from generator.learning.stream import messages
from generator.learning.stream.eir_client import EirStream
from generator.learning.stream.eir_server import EirServer, Options
from generator.learning.stream.opening import open_source

PROCESSES = multiprocessing.get_context("spawn")
PICTURES, BATCH, QUALITY = 2000, 128, 90
WARM_UP_S = 1.0


def draw(folder: Path, side: int) -> None:
    """Smooth random pictures, of which JPEG makes about as much as of paintings."""
    random = np.random.default_rng(0)
    for n in range(PICTURES):
        coarse = Image.fromarray(random.integers(0, 255, (12, 12, 3), dtype=np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{n:05}.jpg", quality=QUALITY)
        (folder / f"{n:05}.txt").write_text(f"picture {n} of a stream that is measured")


def serve_ours(folder: str, port: Any, over: Event) -> None:
    """Our server, until `over`."""

    async def run() -> None:
        server = EirServer(open_source(Path(folder)), Options(epochs=0))
        async with server.listening(port=0) as listening:
            port.value = listening.sockets[0].getsockname()[1]
            await asyncio.to_thread(over.wait)

    asyncio.run(run())


def serve_as_the_tutorial(folder: str, port: Any, over: Event) -> None:
    """Every picture decoded, scaled and encoded for every sample."""
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed

    source = open_source(Path(folder))
    position = 0

    def sample() -> dict[str, Any]:
        nonlocal position
        index, position = position % len(source.ids), position + 1
        image = Image.open(io.BytesIO(source.image(index))).convert("RGB")
        image = image.resize(image.size, Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=QUALITY)
        coded = base64.b64encode(buffer.getvalue()).decode()
        inputs = {"image": coded, "caption": source.caption(index)}
        return {"inputs": inputs, "target_labels": {"image": {"image": coded}}, "sample_id": f"sample_{position}"}

    async def handle(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                if messages.read(text)["type"] == "getData":
                    await connection.send(messages.message("data", [sample() for _ in range(BATCH)]))
                else:
                    await connection.send(messages.message("handshake", version="1.0"))

    async def run() -> None:
        async with serve(handle, "127.0.0.1", 0, max_size=None, ping_interval=None) as listening:
            port.value = listening.sockets[0].getsockname()[1]
            await asyncio.to_thread(over.wait)

    asyncio.run(run())


def read_plainly(address: str, seconds: float, rates: Any) -> None:
    """Samples a second, as any client of the protocol reads them."""
    from websockets.sync.client import connect

    with connect(address, compression=None, max_size=None) as connection:
        connection.send(messages.message("handshake", version="1.0", worker_id=0))
        connection.recv()
        asked = messages.message("getData", {"batch_size": BATCH})
        connection.send(asked)
        count, began, ends = 0, 0.0, time.monotonic() + WARM_UP_S + seconds
        while (now := time.monotonic()) < ends:
            connection.send(asked)
            batch = json.loads(connection.recv())["payload"]
            if now >= ends - seconds:
                began = began or now
                count += len(batch)
        rates.put(count / (time.monotonic() - began))


def read_as_our_trainer(address: str, seconds: float, rates: Any) -> None:
    """Samples a second through EirStream."""
    stream = EirStream(address, validation_share=0.05)
    count, began, ends = 0, 0.0, time.monotonic() + WARM_UP_S + seconds
    for _ in stream.samples("train"):
        if (now := time.monotonic()) >= ends - seconds:
            began = began or now
            count += 1
            if now >= ends:
                break
    rates.put(count / (time.monotonic() - began))
    stream.close()


WAYS = {
    "ours": (serve_ours, read_plainly),
    "resumable": (serve_ours, read_as_our_trainer),
    "tutorial": (serve_as_the_tutorial, read_plainly),
}


def measure(way: str, folder: Path, seconds: float, clients: int) -> float:
    """Samples a second of all clients together."""
    serve, read = WAYS[way]
    port, over, rates = PROCESSES.Value("i", 0), PROCESSES.Event(), PROCESSES.Queue()
    server = PROCESSES.Process(target=serve, args=(str(folder), port, over))
    server.start()
    try:
        until = time.monotonic() + 60
        while not port.value and time.monotonic() < until:
            time.sleep(0.05)
        address = f"ws://127.0.0.1:{port.value}/ws"
        readers = [PROCESSES.Process(target=read, args=(address, seconds, rates)) for _ in range(clients)]
        for reader in readers:
            reader.start()
        found = [float(rates.get(timeout=seconds + 120)) for _ in readers]
        for reader in readers:
            reader.join()
    finally:
        over.set()
        server.join(20)
        if server.is_alive():
            server.terminate()
    return sum(found)


def main() -> None:
    """Prints the medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=128, help="px")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as work:
        draw(Path(work), given.side)
        size = sum(path.stat().st_size for path in Path(work).glob("*.jpg")) / PICTURES
        print(f"{PICTURES} JPEG of {given.side} px, {size / 1024:.1f} KB each; {given.clients} client(s)")
        for _ in range(given.rounds):
            for way in WAYS:
                rates[way].append(measure(way, Path(work), given.seconds, given.clients))
    medians = {way: statistics.median(found) for way, found in rates.items()}
    for way, median in medians.items():
        print(f"{way:10} {median:9,.0f} samples/s, {median / medians['tutorial']:5.1f} x the tutorial's way")
    if given.json:
        given.json.write_text(json.dumps({"side": given.side, "clients": given.clients, "rates": rates}, indent=2))


if __name__ == "__main__":
    main()
