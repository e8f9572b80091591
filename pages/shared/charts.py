"""How charts look on every page."""

from __future__ import annotations

from typing import Any

import streamlit as st

QUIET = "#55605b"  # as --t2i-quiet of the light theme in theme.css


def legible(chart: dict[str, Any]) -> dict[str, Any]:
    """A Vega-Lite chart with the text of its axes dark enough for a light page; Streamlit's own grey is too faint."""
    if st.context.theme.type == "dark":
        return chart
    return {
        **chart,
        "config": {"axis": {"labelColor": QUIET, "titleColor": QUIET}, "legend": {"labelColor": QUIET}},
    }
