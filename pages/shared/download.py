"""Files that visitors take home, made when they are asked for.

Streamlit lets go of a file that it has made at a click as soon as anybody's page has been drawn twice since, on an
evening with many visitors before a phone has begun to fetch it. So what was made is held for a while.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from threading import Timer
from typing import Literal

import streamlit as st
from streamlit import runtime

HELD_S = 60.0
_numbers = count(1)  # of the places where files are held
_free: deque[str] = deque()  # those whose files are let go by now


def download_button(
    title: str,
    make: Callable[[], bytes],
    *,
    file_name: str,
    mime: str,
    key: str,
    icon: str = ":material/download:",
    type: Literal["secondary", "tertiary"] = "secondary",
    disabled: bool = False,
    help: str | None = None,
) -> None:
    """A button to download what `make` returns at the click; the page stays as it is. The file can be fetched for
    HELD_S."""
    st.download_button(
        title,
        partial(_held, make, file_name, mime),
        file_name=file_name,
        mime=mime,
        key=key,
        icon=icon,
        type=type,
        disabled=disabled,
        help=help,
        on_click="ignore",
    )


def _held(make: Callable[[], bytes], file_name: str, mime: str) -> bytes:
    data = make()
    if runtime.exists():
        place = _place()
        # Outside all sessions, so that no run of one lets go of it; the same bytes with the same name are one file.
        files = runtime.get_instance().media_file_mgr
        files.add(data, mime, place, file_name=file_name, is_for_static_download=True)
        timer = Timer(HELD_S, _let_go, (place,))
        timer.daemon = True
        timer.start()
    return data


def _place() -> str:
    with suppress(IndexError):
        return _free.pop()
    return f"to take home {next(_numbers)}"


def _let_go(place: str) -> None:
    """Hold an empty file there instead; Streamlit deletes the other in its own time."""
    if runtime.exists():
        runtime.get_instance().media_file_mgr.add(b"", "text/plain", place, is_for_static_download=True)
    _free.append(place)
