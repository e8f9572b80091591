"""The studio in a browser: `streamlit run webapp.py`. Routes to the pages and keeps the visitor's identity."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages import _widgets

ICON = Path(__file__).parent / "pages" / "_icon.png"


def main() -> None:
    """Draw the frame that all pages share, then the page that the address names."""
    # No icons: the browser would fetch that of the open page from a font server, for its tab.
    page = st.navigation(
        [
            st.Page(_widgets.GENERATION, title="Text-to-Image Generation", default=True),
            st.Page(_widgets.COMPARE, title="Compare"),
            st.Page(_widgets.SHEETS, title="Sheets"),
            st.Page(_widgets.INFERENCES, title="Previous Inferences"),
            st.Page(_widgets.VOTES, title="Vote Images"),
            st.Page(_widgets.QUEUE, title="Queue"),
            st.Page(_widgets.MODELS, title="Models"),
        ],
        position="top",
    )
    st.set_page_config(page_title=page.title, page_icon=ICON, layout="wide")
    _widgets.frame()
    st.title(page.title, anchor=False)
    with _widgets.plain_errors():
        _widgets.studio()
        page.run()


if __name__ == "__main__":
    main()
