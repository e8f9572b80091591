"""Passing a picture on: its short address, as text and as a QR code for another phone."""

from __future__ import annotations

from urllib.parse import urlsplit

import streamlit as st

from db.jobs import Job
from pages.shared.address import for_visitors, is_for_itself, qr_code
from pages.shared.language import _
from pages.shared.navigation import NAMES
from pages.shared.studio import the_settings
from studio.links import link_to


def link(job: Job) -> None:
    """The address, and its QR code; nothing where no address is known that others could open."""
    public, opened = the_settings().public_url, st.context.url
    page = urlsplit(opened or "").path.rstrip("/").rpartition("/")[2]
    root = for_visitors(opened, public, page if page in NAMES else "")
    if root is None:
        return
    address = root.rstrip("/") + link_to(job.id)
    st.caption(_("Share: whoever has this address sees the picture, its prompt and its settings."))
    if is_for_itself(opened, public, st.get_option("server.address")):
        st.caption(_("The studio listens to its own machine alone: others cannot open this address yet."))
    st.code(address, language=None, wrap_lines=True)
    with st.container(horizontal=True, horizontal_alignment="center"):
        said = _("QR code of this address")
        st.html(f'<img class="t2i-qr" src="{qr_code(address)}" alt="{said}" width="160" height="160">', width="content")
