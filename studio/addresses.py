"""What stands for the address somebody asks from, the same on the pages and in the API: a salted hash.

With a secret, since there are so few addresses that all can be tried. The address itself is kept nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress

LOOPBACK = "this machine"


def stand_in(peer: str | None, secret: bytes) -> str | None:
    """24 hexadecimal digits; None where `peer` is no address. All names of this machine are one; so is a /64 of IPv6,
    which is what one household has."""
    try:
        address = ipaddress.ip_address((peer or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    one: object = address
    if address.is_loopback:
        one = LOOPBACK
    elif address.version == 6:
        one = ipaddress.ip_network((address, 64), strict=False)
    return hmac.new(secret, str(one).encode(), hashlib.sha256).hexdigest()[:24]
