"""Who guesses the host's password is slowed down, and stands in nobody's way who knows it."""

from __future__ import annotations

import threading

import pytest
from pydantic import ValidationError

from api.__main__ import main
from settings import Settings
from studio import host_password
from studio.host_password import (
    ALL_FREE,
    ALL_PAUSE_S,
    DEVICE_TRIES,
    FREE_TRIES,
    MAX_ADDRESSES,
    MAX_PAUSE_S,
    Busy,
    Gate,
    credential,
    device_cookie,
    hash_password,
    known_device,
    matches,
)

PASSWORD, SALT = "correct horse battery", b"s" * 32


def test_wrong_tries_of_an_address_take_longer_each_time() -> None:
    gate, pauses = Gate(), []
    for n in range(12):
        assert gate.take("192.0.2.1", None, 100.0 * n) == 0.0
        pauses.append(gate._pause_of("192.0.2.1", 100.0 * n))
    assert pauses[:5] == [0.0, 0.0, 2.0, 4.0, 8.0] and pauses[-1] == MAX_PAUSE_S
    gate.right("192.0.2.1", None)
    assert gate.take("192.0.2.1", None, 1100.0) == 0.0
    at_once = [gate.take("192.0.2.2", None, 1100.0) for _ in range(FREE_TRIES + 2)]
    assert at_once == [0.0] * FREE_TRIES + [2.0] * 2, "none of them was answered yet"


def test_a_household_with_many_ipv6_addresses_is_one() -> None:
    gate = Gate()
    for n in range(FREE_TRIES):
        assert gate.take(f"2001:db8::{n:x}", None, 0.0) == 0.0
    assert gate.take("2001:db8::ffff", None, 0.0) > 0.0 and gate.take("2001:db8:0:1::1", None, 0.0) == 0.0


def test_a_known_browser_gets_in_whoever_else_tries_from_its_address() -> None:
    gate = Gate()
    for n in range(200):
        gate.take("192.0.2.1", None, n / 10)
    assert gate.take("192.0.2.1", None, 20.0) > 0.0
    assert gate.take("192.0.2.1", "known", 20.0) == 0.0
    gate.right("192.0.2.1", "known")
    assert gate.take("192.0.2.1", "known", 20.0) == 0.0


def test_a_stolen_cookie_of_a_known_browser_gives_a_few_tries_and_no_more() -> None:
    gate = Gate()
    tries = [gate.take("192.0.2.1", "stolen", 0.1 * n) for n in range(100)]
    assert tries.count(0.0) <= DEVICE_TRIES + FREE_TRIES + 2 and tries[-1] > 0.0
    assert gate.take("192.0.2.9", "another", 10.0) == 0.0


def test_many_addresses_together_are_slowed_down_too_and_leave_a_turn_for_others() -> None:
    gate = Gate()
    looked_at = sum(gate.take(f"198.51.{n // 250}.{n % 250}", None, n / 100) == 0.0 for n in range(2000))
    assert looked_at <= ALL_FREE + 20 / ALL_PAUSE_S + 1
    # Those that were wrong before cannot take the turns of who was not.
    for n in range(500):
        gate.take(f"198.51.0.{n % 20}", None, 100 + n / 100)
    assert gate.take("203.0.113.5", None, 106.0) == 0.0
    assert len(gate._addresses) <= MAX_ADDRESSES and len(gate._all) <= ALL_FREE + 1


def test_what_is_remembered_is_bounded() -> None:
    gate = Gate()
    for n in range(MAX_ADDRESSES + 50):
        gate.take(f"address {n}", None, 10.0 * n)
        gate.take("", f"device {n}", 10.0 * n)
    assert len(gate._addresses) <= MAX_ADDRESSES and len(gate._devices) <= MAX_ADDRESSES


def test_the_password_is_compared_in_clear_and_as_a_hash() -> None:
    hashed = hash_password(PASSWORD)
    assert hashed.startswith("$argon2id$") and hashed != hash_password(PASSWORD)
    for expected in (PASSWORD, hashed):
        assert matches(PASSWORD, expected)
        for wrong in ("", "correct horse batter", PASSWORD + " ", "x" * 100_000, "\ud800", hashed):
            assert not matches(wrong, expected) or wrong == expected == hashed
    assert matches("pässword\ud800", "pässword\ud800"), "half of a character is one like others"
    assert not matches(hashed, hashed), "who has read the hash does not know the password"


def test_strangers_are_compared_one_at_a_time_and_do_not_hold_up_a_known_browser(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host_password, "PATIENCE_S", 0.05)
    going, let_go, gate = threading.Event(), threading.Event(), Gate()

    def slow(given: str, expected: str) -> bool:
        if given == "stranger":
            going.set()
            let_go.wait(20)
        return given == expected

    monkeypatch.setattr(host_password, "matches", slow)
    stranger = threading.Thread(target=gate.compare, args=("stranger", PASSWORD), kwargs={"known": False})
    stranger.start()
    going.wait(20)
    with pytest.raises(Busy):
        gate.compare("another", PASSWORD, known=False)
    assert gate.compare(PASSWORD, PASSWORD, known=True)
    let_go.set()
    stranger.join()
    assert not gate.compare("another", PASSWORD, known=False)


def test_a_device_cookie_cannot_be_made_up_and_ends_with_the_password() -> None:
    now, later = credential(PASSWORD, SALT), credential("another password", SALT)
    assert now != later and PASSWORD not in now and credential(hash_password(PASSWORD), SALT) != now
    cookie = device_cookie(SALT, now)
    assert known_device(SALT, now, cookie) == cookie.partition(".")[0]
    nonce, _ = cookie.split(".")
    for made_up in (None, "", ".", nonce, f"{nonce}.", f"x{cookie}", f"{nonce}.{'0' * 64}", "é.é", cookie * 1000):
        assert known_device(SALT, now, made_up) is None, made_up
    assert known_device(SALT, later, cookie) is None and known_device(b"t" * 32, now, cookie) is None


def test_a_hash_is_made_on_the_command_line_and_taken_as_the_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
    assert main(["hash-password"]) == 0
    out = capsys.readouterr()
    hashed = out.out.strip()
    assert matches(PASSWORD, hashed) and PASSWORD not in out.out + out.err and "quotes" in out.err
    assert Settings(host_password=hashed).host_password == hashed
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert main(["hash-password"]) == 2 and "5 characters; 8 to 1000" in capsys.readouterr().err


def test_a_hash_that_cannot_be_read_or_takes_too_long_is_no_password() -> None:
    for bad in (
        "$argon2id$v=19$m=65536",
        "$argon2idiot-password",
        "$argon2id$v=19$m=99999999,t=3,p=4$YWJjZGVmZ2g$YWJj",
    ):
        with pytest.raises(ValidationError, match=r"hash") as refused:
            Settings(host_password=bad)
        assert bad not in str(refused.value)
