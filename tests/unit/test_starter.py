"""The starter keeps the studio's processes running, and ends them: real processes that are played, and the real web
app once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.engine import connect, writing
from db.queue import workers
from starter import health, left_over, parts
from starter.backoff import MAX_SOON, MAX_UNREADY, Backoff
from starter.health import CannotTell, NoSign
from starter.log_files import LogFile

ROOT = Path(__file__).resolve().parents[2]


class Started:
    """A starter in a folder of its own. said: what it has told so far."""

    def __init__(self, folder: Path, command: list[str], **environment: str) -> None:
        self.folder = folder
        with (folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                stdout=said,
                stderr=said,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    def parts(self) -> dict[str, int]:
        """Process ids by name, of what runs and is ready."""
        try:
            told = json.loads((self.folder / "run" / f"{socket.gethostname()}-{self.process.pid}.json").read_text())
        except OSError:
            return {}
        return {one["name"]: one["pid"] for one in told["processes"] if one["well"]}

    def until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.said
            time.sleep(0.03)


Start = Callable[..., Started]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the starter with parts that are played; whatever is left at the end is killed."""
    begun: list[Started] = []

    def started(*hows: str) -> Started:
        begun.append(Started(tmp_path, ["tests/played_starter.py", str(tmp_path), *hows]))
        return begun[-1]

    yield started
    pids = {int(path.stem) for path in tmp_path.glob("*.sign")}
    for one in begun:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
    for pid in filter(alive, pids):
        os.killpg(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_part_that_dies_is_started_again_and_the_others_go_on(start: Start) -> None:
    studio = start("fine", "fine")
    studio.until(lambda: len(studio.parts()) == 2)
    before = studio.parts()
    os.kill(before["fine-1"], signal.SIGKILL)
    studio.until(lambda: studio.parts().get("fine-1", before["fine-1"]) != before["fine-1"])
    assert studio.parts()["fine-2"] == before["fine-2"]
    assert "fine-1 was killed by SIGKILL" in studio.said and "started again" in studio.said


def test_a_part_that_hangs_says_where_is_ended_and_started_again(start: Start) -> None:
    studio = start("hangs")
    studio.until(lambda: "hangs-1 hangs" in studio.said)
    studio.until(lambda: "started again" in studio.said)
    before = set(studio.parts().values())
    studio.until(lambda: set(studio.parts().values()) - before)
    log = (studio.folder / "hangs-1.log").read_text()
    assert "most recent call first" in log
    assert "played_part.py" in log and "in main" in log  # the line that hung


def test_a_part_that_cannot_live_is_given_up_with_its_last_words_and_what_to_do(start: Start) -> None:
    studio = start("dies", "fine")
    assert studio.process.wait(30) == 1
    assert studio.said.count("it is started again") == MAX_UNREADY - 1
    assert "the disk of the moon is missing" in studio.said and "dies-1.log" in studio.said
    assert "python tests/played_part.py" in studio.said
    assert "Stopped." in studio.said and not any(alive(int(path.stem)) for path in studio.folder.glob("*.sign"))


def test_a_part_that_others_can_do_without_ends_nothing_when_it_is_given_up(start: Start) -> None:
    studio = start("fine", "dies", "fine")
    studio.until(lambda: "dies-2 is given up" in studio.said)
    studio.until(lambda: len(studio.parts()) == 2)
    assert studio.process.poll() is None


def test_a_part_that_cannot_work_as_configured_is_not_tried_again(start: Start) -> None:
    studio = start("wrong")
    assert studio.process.wait(30) == 2
    assert "started again" not in studio.said and "the disk of the moon is missing" in studio.said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_one_signal_ends_all_in_order(start: Start, number: signal.Signals) -> None:
    studio = start("fine", "mother")
    studio.until(lambda: len(studio.parts()) == 2)
    running = [*studio.parts().values(), int((studio.folder / "child").read_text())]
    studio.process.send_signal(number)
    assert studio.process.wait(20) == 0
    assert not any(map(alive, running)) and not list((studio.folder / "run").iterdir())


def test_a_second_signal_ends_at_once_what_does_not_heed_the_first(start: Start) -> None:
    studio = start("stubborn")
    studio.until(studio.parts)
    (running,) = studio.parts().values()
    studio.process.send_signal(signal.SIGINT)
    time.sleep(0.6)  # sooner, it is the same Ctrl-C through a shell
    studio.process.send_signal(signal.SIGINT)
    assert studio.process.wait(20) == 130
    assert not alive(running)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends what is left")
def test_nothing_is_left_when_the_starter_itself_is_killed(start: Start) -> None:
    studio = start("fine", "fine")
    studio.until(lambda: len(studio.parts()) == 2)
    running = studio.parts().values()
    studio.process.kill()
    studio.until(lambda: not any(map(alive, running)))


def test_the_next_start_ends_what_does_not_heed_that_its_starter_was_killed(start: Start) -> None:
    first = start("stubborn")
    first.until(first.parts)
    (running,) = first.parts().values()
    first.process.kill()
    first.process.wait()
    assert alive(running)
    second = start("fine")
    second.until(second.parts)
    assert not alive(running) and "stubborn-1 was left" in second.said
    assert len(list((second.folder / "run").glob("*.lock"))) == 1


def test_a_starter_that_lives_is_left_in_peace_by_the_next_one(start: Start) -> None:
    first = start("fine")
    first.until(first.parts)
    second = start("fine")
    second.until(second.parts)
    assert alive(next(iter(first.parts().values()))) and first.process.poll() is None


def test_health_says_whether_all_that_is_kept_is_well(start: Start) -> None:
    studio = start("fine")
    studio.until(studio.parts)
    ask = [sys.executable, "-m", "starter", "health", "--run-dir", str(studio.folder / "run")]
    assert subprocess.run(ask, cwd=ROOT, capture_output=True).returncode == 0
    studio.process.kill()
    studio.process.wait()
    (note,) = (studio.folder / "run").glob("*.json")
    told = json.loads(note.read_text())
    note.write_text(json.dumps(told | {"at": told["at"] - 3600}))
    answer = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 1 and "has written nothing" in answer.stdout


def test_jobs_that_kill_their_executor_do_not_end_it_for_good_before_they_are_lost() -> None:
    backoff = Backoff(60.0)
    waits = [backoff.died(20.0, True) for _ in range(MAX_SOON - 1)]
    assert waits[:8] == [1, 2, 4, 8, 16, 32, 60, 60] and None not in waits
    assert backoff.died(20.0, True) is None


def test_a_long_life_makes_up_for_deaths() -> None:
    backoff = Backoff(10.0)
    for _ in range(MAX_UNREADY - 1):
        assert backoff.died(1.0, False)
    assert backoff.died(3600.0, True) == 1.0
    assert [backoff.died(1.0, False) for _ in range(MAX_UNREADY)] == [1, 2, 4, 8, None]


def test_logs_stay_small_and_no_line_is_lost_or_cut_on_the_way(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "logs" / "webapp.log", max_bytes=1000, older=3)
    for number in range(100):
        log.write(b"line %03d %s\n" % (number, b"x" * 20))
    files = [tmp_path / "logs" / name for name in ("webapp.log.3", "webapp.log.2", "webapp.log.1", "webapp.log")]
    assert all(path.stat().st_size <= 1000 for path in files) and not (tmp_path / "logs" / "webapp.log.4").exists()
    numbers = [int(line.split()[1]) for path in files for line in path.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 100)) and len(numbers) > 75
    again = LogFile(tmp_path / "logs" / "webapp.log", max_bytes=1000, older=3)
    again.write(b"after the next start\n")
    log.close()
    again.close()
    assert "line 099" in "".join(path.read_text() for path in files)


def test_a_log_that_cannot_be_written_costs_lines_and_no_part(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    log = LogFile(tmp_path / "file" / "webapp.log")
    log.write(b"lost\n")
    (tmp_path / "file").unlink()
    log.write(b"kept\n")
    log.close()
    assert (tmp_path / "file" / "webapp.log").read_bytes() == b"kept\n"


def test_an_executor_is_seen_to_live_by_its_heartbeats(database: sa.Engine, tmp_path: Path) -> None:
    url = database.url.render_as_string(hide_password=False)
    look, since = health.executor(url), time.time()
    with pytest.raises(NoSign, match="not announced"):
        look(4711, since)
    workers.register(
        database, worker_id="w", device="cpu", engines=["small"], places=1, hostname=socket.gethostname(), pid=4711
    )
    first = look(4711, since)
    assert first.sure and look(4711, since) == first
    assert not look(4711, since + 3600).sure  # of another process that had this id before
    time.sleep(0.01)
    workers.beat(database, "w", "idle")
    assert look(4711, since).value != first.value


def test_a_database_that_is_away_kills_no_executor_and_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(CannotTell):
        health.executor(f"sqlite:///{tmp_path}/gone/jobs.db")(4711, 0.0)
    assert not (tmp_path / "gone").exists()
    with pytest.raises(CannotTell):
        health.executor("postgresql://nobody@127.0.0.1:1/none")(4711, 0.0)


def test_a_database_that_nobody_can_write_to_kills_no_executor(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    db = connect(url)
    workers.register(
        db, worker_id="w", device="cpu", engines=["small"], places=1, hostname=socket.gethostname(), pid=4711
    )
    look = health.executor(url)
    look(4711, 0.0)
    look(4711, 0.0)  # silent, and it could have been heard
    with writing(db), pytest.raises(CannotTell, match="locked"):
        look(4711, 0.0)
    db.dispose()


@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_web_app_lives_that_answers_though_under_another_address(status: int) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        look = health.web_app("0.0.0.0", server.server_port)
        if status < 500:
            assert look(1, 0.0)
        else:
            with pytest.raises(NoSign, match="500"):
                look(1, 0.0)
        server.shutdown()
        thread.join()
    with pytest.raises(NoSign, match="does not answer"):
        look(1, 0.0)


def test_a_port_that_is_taken_is_said_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        studio = Started(
            tmp_path, ["-m", "starter", "web", f"--port={port}", "--host=127.0.0.1", f"--run-dir={tmp_path}/run"]
        )
        assert studio.process.wait(30) == 1
        assert f"Port {port} on 127.0.0.1 is in use" in studio.said and "--port" in studio.said
    assert parts.taken("127.0.0.1", port) is None
    assert "no address of this machine" in str(parts.taken("192.0.2.7", port))


def test_a_setting_that_cannot_be_read_is_named_and_ends_the_start(tmp_path: Path) -> None:
    studio = Started(tmp_path, ["-m", "starter", "executor", f"--run-dir={tmp_path}/run"], T2I_LEASE_S="soon")
    assert studio.process.wait(30) == 2
    assert "T2I_LEASE_S='soon'" in studio.said


def test_the_web_app_is_there_again_after_it_was_killed(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    at = [f"--port={port}", "--host=127.0.0.1", f"--run-dir={tmp_path}/run", f"--logs={tmp_path}/logs"]
    environment = {"T2I_DATABASE_URL": f"sqlite:///{tmp_path}/jobs.db", "T2I_STORE_URL": f"file://{tmp_path}/store"}
    studio = Started(tmp_path, ["-m", "starter", "web", *at], **environment)
    try:
        studio.until(studio.parts, 60)
        before = studio.parts()["webapp"]
        os.kill(before, signal.SIGKILL)
        studio.until(lambda: studio.parts().get("webapp", before) != before, 60)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=10) as answer:
            assert answer.status == 200
        now = studio.parts()["webapp"]
        studio.process.terminate()
        assert studio.process.wait(30) == 0 and not alive(now)
    finally:
        if studio.process.poll() is None:
            studio.process.kill()
            studio.process.wait()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    units = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
    assert len(units) == 2
    for unit in units:  # with the paths of this checkout
        text = unit.read_text().replace("/opt/text-to-image-studio/.venv/bin/python", sys.executable)
        name = unit.name.replace("@.", "@1.")
        (tmp_path / name).write_text(text.replace("/opt/text-to-image-studio", str(ROOT)))
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.glob("*.service")))],
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )
    ours = [line for line in answer.stderr.splitlines() if "studio-" in line]
    assert answer.returncode == 0 and not ours, answer.stderr


def test_a_process_that_got_an_old_id_is_not_taken_for_what_was_left(tmp_path: Path) -> None:
    name = f"{socket.gethostname()}-7"
    (tmp_path / f"{name}.lock").touch()
    mine = left_over.Process("webapp", os.getpid(), "another time", True)
    told = {"at": 0.0, "processes": [mine.__dict__]}
    (tmp_path / f"{name}.json").write_text(json.dumps(told))
    assert left_over.end_left_over(tmp_path) == [] and not list(tmp_path.iterdir())


def test_the_notes_of_another_machine_in_the_same_folder_are_its_own(tmp_path: Path) -> None:
    other = [tmp_path / f"{socket.gethostname()}-2-7.{ending}" for ending in ("json", "lock")]
    for path in other:
        path.write_text(json.dumps({"at": 0.0, "processes": []}))
    assert left_over.end_left_over(tmp_path) == [] and all(path.exists() for path in other)
    note = left_over.Note(tmp_path)
    note.write([left_over.Process("webapp", os.getpid(), "now", True)])
    assert left_over.health(tmp_path) == []
    note.remove()
