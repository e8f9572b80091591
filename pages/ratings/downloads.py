"""Votes and jobs as files. A file is made when it is asked for, once a minute for all visitors together."""

from __future__ import annotations

from functools import partial

import streamlit as st

from db.evening import tables
from pages.shared.download import download_button
from pages.shared.language import N_, _, number
from pages.shared.studio import the_studio
from studio.downloads import FILES, lines, media_type

TITLES = {"votes": N_("Votes"), "jobs": N_("Jobs")}


def buttons() -> None:
    """The four downloads, and what is in them."""
    st.header(_("Take it home"), anchor=False)
    with st.container(horizontal=True, gap="small", key="take_home"):
        for name in FILES:
            what, kind = name.split(".")
            download_button(
                f"{_(TITLES[what])} ({kind.upper()})",
                partial(file, name),
                file_name=name,
                mime=media_type(name),
                key=f"take_{what}_{kind}",
            )
    st.caption(
        _(
            "The newest {votes} votes and {jobs} jobs, without hidden pictures. Visitors go by names that lead "
            "nowhere.",
            votes=number(tables.MAX_VOTES, ","),
            jobs=number(tables.MAX_JOBS, ","),
        )
    )


def file(name: str) -> bytes:
    """The bytes of one of FILES, at most a minute old; what is hidden or deleted is gone from them at once."""
    return _file(name, tables.withheld(the_studio().db))


@st.cache_data(ttl=60.0, max_entries=4, show_spinner=False)
def _file(name: str, withheld: str) -> bytes:
    return "".join(lines(the_studio(), name)).encode()
