"""Names and values as two columns of text."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from pages.shared.text import esc


def facts(rows: Iterable[tuple[str, object]]) -> None:
    """A line each, as text whatever stands in it."""
    body = "".join(f"<dt>{esc(name)}</dt><dd>{esc(value)}</dd>" for name, value in rows)
    st.html(f'<dl class="t2i-facts">{body}</dl>')
