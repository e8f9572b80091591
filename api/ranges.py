"""Parts of a file, as browsers and resumed downloads ask for them (RFC 9110: Range, If-Range)."""

from __future__ import annotations

import re

from fastapi import Request, Response

from api.problems import NotAnswered

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def part(request: Request, data: bytes, media_type: str, headers: dict[str, str]) -> Response:
    """All of the bytes, or the one range that was asked for. Raises NotAnswered (416) for one that is not there."""
    asked = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    fresh = request.headers.get("if-range", headers.get("etag")) == headers.get("etag")
    if asked is None or not (asked[1] or asked[2]) or not fresh:
        return Response(data, media_type=media_type, headers=headers)
    if asked[1]:
        first, last = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
    else:
        first, last = max(len(data) - int(asked[2]), 0), len(data) - 1
    if first > last or first >= len(data):
        raise NotAnswered(
            416,
            f"The file has {len(data)} bytes; the range asked for is not among them.",
            "bad_range",
            content_range=f"bytes */{len(data)}",
        )
    headers = {**headers, "content-range": f"bytes {first}-{last}/{len(data)}"}
    return Response(data[first : last + 1], 206, headers, media_type)
