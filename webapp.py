"""The studio in a browser: `streamlit run webapp.py`. Routes to the pages and keeps the visitor's identity."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages import _language, _widgets

ICON = Path(__file__).parent / "pages" / "_icon.png"


def main() -> None:
    """Draw the frame that all pages share, then the page that the address names."""
    _language.settle()
    page = _widgets.navigation()
    st.set_page_config(page_title=page.title, page_icon=ICON, layout="wide")
    _widgets.frame()
    _language.announce()
    _widgets.close_menu(page.url_path)
    if page.url_path != _widgets.KIOSK:
        with st.container(
            horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="page_head"
        ):
            st.title(page.title, anchor=False, width="content")
            _language.choice()
    with _widgets.plain_errors():
        _widgets.studio()
        page.run()


if __name__ == "__main__":
    main()
