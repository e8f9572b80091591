"""The studio in a browser, and for programs: `streamlit run webapp.py`.

The server imports this file for `app`, the pages with the API beside them on one port. For each visitor Streamlit runs
it as a script, which draws the page that the address names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from pydantic import ValidationError
from starlette.middleware import Middleware
from streamlit.navigation.page import StreamlitPage

from pages.components import event_code, picture_in, thumb_bar, viewer
from pages.hosting.sign_in import is_host
from pages.shared import form_memory, language
from pages.shared.errors import plain_errors
from pages.shared.first_paint import load_kinds
from pages.shared.frame import ICON, frame, offer_installing, say_what_is_forgotten
from pages.shared.navigation import KIOSK, navigation
from pages.shared.studio import the_studio

HOST_PAGE, FIRST_PAGE = "host", ""


def main() -> None:
    """Draw the frame that all pages share, then the page that the address names."""
    language.settle()
    page = navigation()
    load_kinds(wanted=page.url_path == FIRST_PAGE)
    st.set_page_config(page_title=page.title, page_icon=ICON, layout="wide")
    frame()
    language.announce()
    offer_installing()
    if page.url_path != KIOSK:
        with st.container(
            horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="page_head"
        ):
            st.title(page.title, anchor=False, width="content")
            language.choice()
        say_what_is_forgotten()
    recalled = form_memory.recall()
    with plain_errors(for_host=is_host_page(page)):
        the_studio()
        event_code.taken_from_link()
        if page.url_path not in (KIOSK, HOST_PAGE):
            event_code.ask()
        page.run()
        if not picture_in.is_asking(page_is_drawn=page.url_path == FIRST_PAGE):  # there is one dialog at a time
            viewer.show(page.url_path)
    if page.url_path != KIOSK:
        thumb_bar.show()
    if not recalled:
        form_memory.write()


def is_host_page(page: StreamlitPage) -> bool:
    """Whether the host, signed in, looks at the Host page."""
    try:
        return page.url_path == HOST_PAGE and is_host()
    except ValidationError:
        return False


if __name__ == "__main__":
    main()
else:
    import logs
    import telemetry
    from api.headers import Headers
    from api.host_session import host_session
    from api.installable import installable
    from api.internals import Internals
    from api.proxies import TrustedProxies, believe_no_others
    from api.server import PREFIXES, Beside, build
    from api.shared_pictures import shared_pictures
    from api.visitor_cookie import VisitorCookie
    from api.wall_files import wall_files
    from pages.ratings import standings
    from pages.shared.unsent import UnsentBounded
    from settings import Settings

    readable = True
    try:
        settings = Settings()
    except ValidationError:
        # The pages say what is wrong with the configuration.
        settings, readable = Settings.model_construct(api="off"), False
    log = logs.to_stderr("api", as_json=settings.json_log)
    logs.to_stderr("pages", as_json=settings.json_log)
    api = build(settings, traces=telemetry.set_up("text-to-image-studio", log))

    @asynccontextmanager
    async def lifespan(_: st.App) -> AsyncIterator[None]:
        """The API's own; and ratings of before are there when the first visitor is."""
        async with api.router.lifespan_context(api):
            if readable:
                standings.work_out(lambda: api.state.api.studio.db)
            yield

    believe_no_others()
    around = [
        Middleware(TrustedProxies, trusted=settings.trusted_proxies),
        Middleware(Headers, embedders=settings.embedders, answers=PREFIXES),
        Middleware(Beside, api=api),
        Middleware(Internals, api=api.state.api),
        Middleware(UnsentBounded),
    ]
    if readable:
        opened = api.state.api
        around.append(Middleware(VisitorCookie, secret=opened.salt, db=lambda: opened.studio.db))
    own = [host_session(api.state.api), *shared_pictures(api.state.api), wall_files(api.state.api), *installable()]
    app = st.App(__file__, routes=own, middleware=around, lifespan=lifespan)
