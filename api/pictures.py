"""Pictures in requests: base64, with or without the head of a data URI."""

from __future__ import annotations

import base64
import binascii
import re

from generator.params import BadParams
from studio.uploads import Upload

MAX_HEAD = 200  # characters of the head of a data URI
_DATA_URI = re.compile(r"data:[\w.+/-]*(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)
_BLANKS = b" \t\r\n\f\v"


def decoded(name: str, text: str) -> Upload:
    """The file in base64 or a data URI. Raises BadParams where it is neither."""
    head = _DATA_URI.match(text[:MAX_HEAD])
    try:
        # Of bytes, and by the libraries in C that let other threads go on: it may be a large picture.
        letters = text[head.end() if head else 0 :].encode("ascii").translate(None, _BLANKS)
        data = base64.b64decode(letters, validate=True)
    except (binascii.Error, ValueError):
        raise BadParams(f"{name} is no picture: base64 of a file is needed, or a data URI of it.") from None
    if not data:
        raise BadParams(f"{name} is empty: base64 of a picture file is needed, or a data URI of it.")
    return Upload(name, data)
