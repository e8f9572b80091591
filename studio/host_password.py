"""The host's password: how it is kept and compared, and what keeps strangers from guessing it.

Who guesses is slowed by the address they come from, and all of them together; a browser in which the host has signed in
before carries a signed cookie and is counted alone, so that nobody else's guesses stand in its way (OWASP, "Device
cookies": https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from argon2.low_level import Type, hash_secret_raw

from db.errors import BadValue

MIN_LENGTH, MAX_LENGTH = 8, 1000  # characters
FREE_TRIES = 3
MAX_PAUSE_S = 60.0
FORGOTTEN_S = 3600.0
MAX_ADDRESSES = 10_000
DEVICE_TRIES = 10  # wrong ones of one known browser, until it is one like others
ALL_FREE, ALL_WITHIN_S, ALL_PAUSE_S = 30, 600.0, 5.0  # wrong ones of all unknown browsers together
PATIENCE_S = 5.0
_HASH = "$argon2"


class Busy(Exception):
    """Others are being compared, so this one was not looked at; it may be tried again at once."""


def hash_password(password: str) -> str:
    """argon2id with 64 MiB, as RFC 9106 recommends for servers with little memory; some 0.1 s. Raises BadValue."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise BadValue(f"It has {len(password)} characters; {MIN_LENGTH} to {MAX_LENGTH} are permitted.")
    return PasswordHasher().hash(_bytes(password))


def matches(given: str, expected: str) -> bool:
    """Whether it is the password; expected: in clear or as a hash. The time says nothing about where they differ."""
    if len(given) > MAX_LENGTH:
        return False
    if expected.startswith(_HASH):
        try:
            return PasswordHasher().verify(expected, _bytes(given))
        except VerificationError:
            return False
    digests = (hashlib.sha256(_bytes(text)).digest() for text in (given, expected))
    return hmac.compare_digest(*digests)


@lru_cache(maxsize=4)
def credential(expected: str, salt: bytes) -> str:
    """What is kept with a session to know the password again by which it began, 64 hex digits.

    A hash has a salt of its own. A password in clear is stretched, so that it cannot be found from the database.
    """
    if expected.startswith(_HASH):
        return hashlib.sha256(_bytes(expected)).hexdigest()
    cost = {"time_cost": 3, "memory_cost": 1 << 16, "parallelism": 1, "hash_len": 32}
    return hash_secret_raw(_bytes(expected), salt, type=Type.ID, **cost).hex()


def device_cookie(salt: bytes, credential: str) -> str:
    """For a browser in which the host has just signed in: `nonce.signature`. Another password makes it worthless."""
    nonce = secrets.token_urlsafe(16)
    return f"{nonce}.{_signature(salt, credential, nonce)}"


def known_device(salt: bytes, credential: str, cookie: str | None) -> str | None:
    """The nonce of a cookie that `device_cookie` has made; None of any other."""
    nonce, _, signature = (cookie or "")[:200].partition(".")
    expected = _signature(salt, credential, nonce)
    return nonce if hmac.compare_digest(_bytes(signature), expected.encode()) else None


def _signature(salt: bytes, credential: str, nonce: str) -> str:
    return hmac.new(salt, _bytes(f"device {credential} {nonce}"), hashlib.sha256).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@dataclass
class _Wrong:
    """How many, and when the last was, in s."""

    count: int
    last: float


@dataclass
class Gate:
    """Who may try now. One of each process; times in s on one clock. Nobody is held: who comes too soon is refused.

    After FREE_TRIES each wrong try of an address takes twice as long as the one before. Where all unknown browsers
    together have made ALL_FREE wrong ones within ALL_WITHIN_S, one is looked at each ALL_PAUSE_S; so for addresses that
    have not been wrong yet, and for the others, so that a few of those cannot take every turn.
    """

    _addresses: OrderedDict[str, _Wrong] = field(default_factory=OrderedDict)
    _devices: OrderedDict[str, _Wrong] = field(default_factory=OrderedDict)
    _all: list[float] = field(default_factory=list)
    _turns: dict[bool, float] = field(default_factory=dict)
    _counting: threading.Lock = field(default_factory=threading.Lock)
    # A comparison takes 0.1 s and 64 MiB: one at a time for strangers, and one for browsers that are known.
    _comparing: dict[bool, threading.Lock] = field(
        default_factory=lambda: {True: threading.Lock(), False: threading.Lock()}
    )

    def take(self, address: str, device: str | None, now: float) -> float:
        """0 where a try may be made: it counts as wrong until `right` is called, so that tries at once are not free.
        Otherwise how long in s none of this browser is looked at."""
        address = network_of(address)
        with self._counting:
            if self._is_known(device, now):
                _count(self._devices, str(device), now)
                return 0.0
            pause = max(self._pause_of(address, now), self._pause_of_all(address, now))
            if not pause:
                self._turns[address in self._addresses] = now
                _count(self._addresses, address, now)
                self._all = [*self._all[-ALL_FREE:], now]
            return pause

    def right(self, address: str, device: str | None) -> None:
        """Forget the wrong ones of this browser and of this address."""
        with self._counting:
            self._addresses.pop(network_of(address), None)
            self._devices.pop(device or "", None)

    def compare(self, given: str, expected: str, *, known: bool) -> bool:
        """As `matches`, one at a time. Raises Busy."""
        if not self._comparing[known].acquire(timeout=PATIENCE_S):
            raise Busy
        try:
            return matches(given, expected)
        finally:
            self._comparing[known].release()

    def _is_known(self, device: str | None, now: float) -> bool:
        wrong = self._devices.get(device or "", _Wrong(0, now))
        return device is not None and (wrong.count < DEVICE_TRIES or now - wrong.last > FORGOTTEN_S)

    def _pause_of(self, address: str, now: float) -> float:
        wrong = self._addresses.get(address)
        if wrong is None or wrong.count < FREE_TRIES:
            return 0.0
        return max(wrong.last + min(2.0 ** (wrong.count - FREE_TRIES + 1), MAX_PAUSE_S) - now, 0.0)

    def _pause_of_all(self, address: str, now: float) -> float:
        if sum(now - at < ALL_WITHIN_S for at in self._all) < ALL_FREE:
            return 0.0
        return max(self._turns.get(address in self._addresses, now - ALL_PAUSE_S) + ALL_PAUSE_S - now, 0.0)


def _count(among: OrderedDict[str, _Wrong], one: str, now: float) -> None:
    before = among.pop(one, _Wrong(0, now))
    among[one] = _Wrong(1 if now - before.last > FORGOTTEN_S else before.count + 1, now)
    while len(among) > MAX_ADDRESSES:
        among.popitem(last=False)


def network_of(address: str) -> str:
    """The address, or of IPv6 its /64, which one household has whole."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)
