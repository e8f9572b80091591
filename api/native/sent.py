"""A body that is a file: it goes to the disk as it comes, and is gone once it was looked at."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Request

from api.opened import Api
from db.errors import StoreFull


def declared_bytes(request: Request, most: int) -> int:
    """How many bytes the body says it has, `most` at the most: more are refused where it is read, as everywhere. 0
    where it does not say."""
    told = request.headers.get("content-length", "")
    return min(int(told), most) if told.isascii() and told.isdigit() else 0


@asynccontextmanager
async def sent_file(api: Api, request: Request, called: str) -> AsyncIterator[Path]:
    """The body under this file name. Raises StoreFull where there is no room for it."""
    with tempfile.TemporaryDirectory(prefix="t2i-sent-") as folder:
        file = Path(folder) / called
        try:
            with open(file, "wb") as written:
                async for piece in request.stream():
                    await api.run(written.write, piece)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StoreFull("There is no room for the file on the studio's machine; free some disk space.") from None
        yield file
