"""Sends pictures that are small files and large in memory to a real web app, ten at once, and measures what it takes.

    python scripts/check_uploads.py [--bombs 10]

Through the API each is decoded; through a browser's session they are sent where no form reads them. Prints the web
app's memory at rest and at its peak. Exit 0: its peak stayed within what one picture may take (256 MiB) and what
sessions may send unread (128 MiB) above its rest.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from struct import pack
from uuid import uuid4

import httpx
import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

ROOT = Path(__file__).resolve().parent.parent
START_S = 120.0
WIDTH, HEIGHT = 8000, 5000
SESSIONS, FILES, FILE_BYTES = 10, 20, 9_000_000
MORE_BYTES = 64 << 20  # beside the pictures: bodies of requests, PNGs that are written, what is freed later


def bomb() -> bytes:
    """A PNG of 40 million px in RGBA, all of one colour: some hundred kB."""
    packed = zlib.compressobj(9)
    row = bytes(1 + 4 * WIDTH)
    pixels = b"".join(packed.compress(row) for _ in range(HEIGHT)) + packed.flush()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", pack(">IIBBBBB", WIDTH, HEIGHT, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def memory(process: int, what: str) -> int:
    """VmRSS or VmHWM of a process, in bytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(what))


async def through_the_api(address: str, count: int) -> list[int]:
    """The statuses of so many requests at once, each with a picture."""
    data = bomb()
    async with httpx.AsyncClient(timeout=300, trust_env=False) as client:
        sent = [client.post(f"{address}/api/v1/uploads", content=data) for _ in range(count)]
        return [answer.status_code for answer in await asyncio.gather(*sent)]


async def through_sessions(address: str) -> list[int]:
    """The statuses of files that sessions send and no form reads."""
    found: list[int] = []

    async def one() -> None:
        async with httpx.AsyncClient(timeout=300, trust_env=False) as client:
            await client.get(f"{address}/_stcore/host-config")
            token = (await client.get(f"{address}/_stcore/health")).cookies.get("_streamlit_xsrf") or ""
            where = f"ws{address.removeprefix('http')}/_stcore/stream"
            async with websockets.connect(
                where, subprotocols=[websockets.Subprotocol("streamlit")], max_size=None
            ) as ws:
                message = BackMsg()
                message.rerun_script.query_string = ""
                await ws.send(message.SerializeToString())
                session = ""
                while not session:
                    told = ForwardMsg.FromString(bytes(await ws.recv(decode=False)))
                    session = told.new_session.initialize.session_id
                headers = {"x-xsrftoken": token, "cookie": f"_streamlit_xsrf={token}"}
                for _ in range(FILES):
                    answer = await client.put(
                        f"{address}/_stcore/upload_file/{session}/{uuid4()}",
                        files={"file": ("a.png", bytes(FILE_BYTES), "image/png")},
                        headers=headers,
                    )
                    found.append(answer.status_code)

    await asyncio.gather(*(one() for _ in range(SESSIONS)))
    return found


def start(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A web app on a database and a store of its own, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "T2I_DATABASE_URL": f"sqlite:///{folder}/jobs.db",
        "T2I_STORE_URL": f"file://{folder}/artefacts",
    }
    command = [sys.executable, "-m", "streamlit", "run", "webapp.py", f"--server.port={port}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--server.address=127.0.0.1"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/_stcore/health", trust_env=False).status_code == 200:
                return process, f"http://127.0.0.1:{port}"
        time.sleep(0.2)
    process.kill()
    raise SystemExit("the web app did not become healthy")


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bombs", type=int, default=10, help="pictures at once (default: 10)")
    args = parser.parse_args()
    if sys.platform != "linux":
        print("The memory of another process is read from /proc, which is Linux's.", file=sys.stderr)
        return 2
    sys.path.insert(0, str(ROOT))
    from generator.images.decode import MAX_MEMORY
    from pages.shared.unsent import MAX_BYTES

    with tempfile.TemporaryDirectory() as name:
        process, address = start(Path(name))
        try:
            asyncio.run(through_the_api(address, 1))  # what is loaded with the first picture is rest
            rest = memory(process.pid, "VmRSS")
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")
            statuses = asyncio.run(through_the_api(address, args.bombs))
            peak = memory(process.pid, "VmHWM")
            _tell("API", rest, peak, statuses, args.bombs)
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")
            unread = asyncio.run(through_sessions(address))
            after = memory(process.pid, "VmHWM")
            _tell("sessions", rest, after, unread, SESSIONS * FILES)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    within = peak - rest < MAX_MEMORY + MORE_BYTES and after - rest < MAX_BYTES + SESSIONS * 3 * FILE_BYTES + MORE_BYTES
    # On a busy machine some wait longer than they may, and are told to try again.
    taken = statuses.count(201) > 0 and set(statuses) <= {201, 503} and unread.count(204) > 0
    print("within bounds" if within and taken else "BEYOND BOUNDS")
    return 0 if within and taken else 1


def _tell(road: str, rest: int, peak: int, statuses: list[int], count: int) -> None:
    kinds = ", ".join(f"{statuses.count(status)} x {status}" for status in sorted(set(statuses)))
    print(
        f"{road}: {count} files ({kinds}); at rest {rest / 1e6:.0f} MB, peak {peak / 1e6:.0f} MB, "
        f"{(peak - rest) / 1e6:.0f} MB more, {peak / rest:.2f} times"
    )


if __name__ == "__main__":
    sys.exit(main())
