"""No password, key or token is in what the studio says or logs, however an address is mistyped."""

from __future__ import annotations

import io
import json
import logging
import traceback
from pathlib import Path

import pytest

import logs
from db.artefacts import Store
from db.engine import connect
from db.errors import DatabaseUnavailable, StoreUnavailable, UnknownArtefact
from masking import masked, masked_address, without

PIECES = ("hunter", "s3cret", "xyzzy")  # whatever of a password is in the addresses below

MISTYPED = [
    "postgresql://ada:hunter2@127.0.0.1:1/studio",
    "postgres://ada:hunter2@127.0.0.1:1/studio",
    "postgresql+psycopg://ada:hunter2@127.0.0.1:1/studio",
    "postgres//ada:hunter2@127.0.0.1:1/studio",
    "postgresql//ada:hunter2@127.0.0.1:1/studio",
    "postgresql:/ada:hunter2@127.0.0.1:1/studio",
    "postgresql:ada:hunter2@127.0.0.1:1/studio",
    "postgresql:///ada:hunter2@127.0.0.1:1/studio",
    "postgresl://ada:hunter2@127.0.0.1:1/studio",
    "postgre sql://ada:hunter2@127.0.0.1:1/studio",
    "http://ada:hunter2@127.0.0.1:1/studio",
    "mysql://ada:hunter2@127.0.0.1:1/studio",
    "ada:hunter2@127.0.0.1/studio",
    "//ada:hunter2@127.0.0.1/studio",
    "hunter2@127.0.0.1/studio",
    "hunter2",
    "ada:hunter2",
    " postgresql://ada:hunter2@127.0.0.1:1/studio",
    "'postgresql://ada:hunter2@127.0.0.1:1/studio'",
    "postgresql://ada:hunter2/s3cret@127.0.0.1:1/studio",
    "postgresql://ada:hunter2@s3cret@127.0.0.1:1/studio",
    "postgresql://ada:hunter2:s3cret@127.0.0.1:1/studio",
    "postgresql://ada:hunter2?s3cret@127.0.0.1:1/studio",
    "postgresql://ada:hunter2#s3cret@127.0.0.1:1/studio",
    "postgresql://ada:hunter2 s3cret@127.0.0.1:1/studio",
    "postgresql://ada:hunter2%40s3cret@127.0.0.1:1/studio",
    "postgresql://ada:hunter2%2Fs3cret%3A@127.0.0.1:1/studio",
    "postgresql://ada%3Ahunter2%40127.0.0.1/studio",
    "postgresql://ada:hunter2",
    "postgresql://ada:hunter2/studio",
    "postgresql://ada:hunter2@",
    "postgresql://ada:hunter2@:1/studio",
    "postgresql://ada:hunter2@127.0.0.1:s3cret/studio",
    "postgresql://ada:hunter2@127.0.0.1:99999/studio",
    "postgresql://127.0.0.1:1/studio?user=ada&password=hunter2",
    "postgresql://ada@127.0.0.1:1/studio?password=hunter2@s3cret",
    "postgresql://ada@127.0.0.1:1/studio?pasword=hunter2",
    "postgresql://ada@127.0.0.1:1/studio?hunter2",
    "postgresql://ada@127.0.0.1:1/studio?sslpassword=hunter2&sslmode=disable",
    "postgresql://ada@127.0.0.1:1/studio?options=-c%20hunter2",
    "postgresql://ada:hunter2@127.0.0.1:1/studio?port=s3cret",
    "postgresql://ada:hunter2@[::1/studio",
    "postgresql://ada:hunter2@bad..name/studio",
    "postgresql://ada:hunter2\n@127.0.0.1:1/studio",
    "postgresql://ada:hunter2\x00@127.0.0.1:1/studio",
    "postgresql://ada:hunter2\ud800@127.0.0.1:1/studio",
    "host=127.0.0.1 port=1 user=ada password=hunter2 dbname=studio",
    "host=127.0.0.1 password='hunter2 s3cret' dbname=studio",
    "jdbc:postgresql://ada:hunter2@127.0.0.1:1/studio",
    "sqlite:///{folder}/jobs.db?password=hunter2",
    "sqlite:///{folder}/jobs.db?key=hunter2&mode=ro",
    "sqlite://ada:hunter2@127.0.0.1/studio",
    "sqlite+pysqlcipher://:hunter2@/{folder}/jobs.db",
    "",
]


@pytest.mark.parametrize("address", MISTYPED, ids=range(len(MISTYPED)))
def test_a_mistyped_address_of_the_database_shows_no_password(address: str, tmp_path: Path) -> None:
    address = address.replace("{folder}", str(tmp_path))
    with pytest.raises(DatabaseUnavailable) as refused:
        connect(address, busy_timeout_s=1)
    error = refused.value
    said = "".join(traceback.format_exception(error.with_traceback(None)))
    for text in (str(error), said, masked_address(address)):
        assert not [piece for piece in PIECES if piece in text], text
    assert "\n" not in str(error)
    assert error.public == "The studio cannot reach its database."


def test_what_is_not_secret_is_told() -> None:
    assert masked_address("postgresql://ada:hunter2@db.example.org:5433/studio?sslmode=require") == (
        "postgresql://***@db.example.org:5433/studio?sslmode=require"
    )
    for plain in ("sqlite:///data/jobs.db", "file://data/artefacts", "s3://bucket/studio", "/srv/pictures", "./a b/c"):
        assert masked_address(plain) == plain
    assert masked_address("postgresql://localhost:5433/studio") == "postgresql://localhost:5433/studio"
    with pytest.raises(DatabaseUnavailable, match=r"postgresql.*127\.0\.0\.1.*cannot be reached.*[Cc]onnection"):
        connect("postgresql://ada:hunter2@127.0.0.1:1/studio")


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIAHUNTER:s3cret@bucket/studio",
        "s4://AKIA:s3cret@bucket/studio",
        "ftp://ada:s3cret@127.0.0.1:1/studio",
        "sftp://ada:s3cret@127.0.0.1:1/studio",
        "github://ada:s3cret@",
        "memory://ada:s3cret@x",
        "::s3cret@",
    ],
)
def test_a_mistyped_address_of_the_store_shows_no_key(address: str) -> None:
    with pytest.raises((StoreUnavailable, UnknownArtefact)) as refused:
        Store(address).get("executors/nothing.txt")
    assert "s3cret" not in "".join(traceback.format_exception(refused.value.with_traceback(None)))


LINES = [
    "connecting to postgresql://ada:hunter2@db/studio",
    "invalid dsn: host=db password=hunter2 user=ada",
    "password='hunter2'",
    '{"password": "hunter2", "token":"s3cret"}',
    "Authorization: Bearer hunter2s3cret",
    "authorization=Basic hunter2",
    "headers: api-key=hunter2,x-api-key=s3cret",
    "https://ada:hunter2@collector:4318/v1/traces",
    "https://hunter2@collector:4318/v1/traces",
    "https://collector/?access_token=hunter2&x=1",
    "aws_secret_access_key = hunter2",
    "AWS_SECRET_ACCESS_KEY=hunter2",
    "T2I_HOST_PASSWORD=hunter2",
    "the key t2i_hunter2hunter2hunter2 is revoked",
    "secret whsec_hunter2hunter2hunter2",
    "user:hunter2@host/db is no address",
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("as_json", [False, True])
def test_logs_hold_no_secret(line: str, as_json: bool) -> None:
    log = logs.to_stderr("test-masking", as_json=as_json)
    written = io.StringIO()
    log.handlers[0].stream = written  # type: ignore[attr-defined]
    try:
        raise RuntimeError(line)
    except RuntimeError:
        log.exception("what %s", line, extra={"fields": {"error": line, "more": [line], "count": 5, "tokens": 7}})
    text = written.getvalue()
    logging.getLogger("test-masking").handlers = []
    assert "RuntimeError" in text and not [piece for piece in PIECES if piece in text], text
    if as_json:
        assert json.loads(text)["count"] == 5
    else:
        assert "tokens=7" in text


@pytest.mark.parametrize(
    "line", ["a red heart at 12:30 @ home", "step 3 of 10: 2.5 it/s", "jobs/0660/picture.png", "90 tokens; 77 fit"]
)
def test_what_is_no_secret_is_left_alone(line: str) -> None:
    assert masked(line) == line


def test_what_drivers_say_of_an_address_is_without_it() -> None:
    said = without('failed to resolve host "s3cret@db"', "postgresql://ada:hunter2@s3cret@db/studio")
    assert "s3cret" not in said and "failed to resolve host" in said
