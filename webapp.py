"""The studio in a browser: `streamlit run webapp.py`. Routes to the pages and keeps the visitor's identity."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.shared import language
from pages.shared.errors import plain_errors
from pages.shared.frame import close_menu, frame
from pages.shared.navigation import KIOSK, navigation
from pages.shared.studio import the_studio

ICON = Path(__file__).parent / "pages" / "shared" / "icon.png"


def main() -> None:
    """Draw the frame that all pages share, then the page that the address names."""
    language.settle()
    page = navigation()
    st.set_page_config(page_title=page.title, page_icon=ICON, layout="wide")
    frame()
    language.announce()
    close_menu(page.url_path)
    if page.url_path != KIOSK:
        with st.container(
            horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="page_head"
        ):
            st.title(page.title, anchor=False, width="content")
            language.choice()
    with plain_errors():
        the_studio()
        page.run()


if __name__ == "__main__":
    main()
