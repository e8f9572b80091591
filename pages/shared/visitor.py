"""Who looks at a page, and what visitors call themselves."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable

import streamlit as st

from db.jobs import Job
from db.rules import visitors
from pages.shared.studio import the_studio
from studio.context import Submitter

COOKIE = "t2i_visitor"
_VISITOR = re.compile(r"[A-Za-z0-9_-]{16,64}")


def the_visitor() -> Submitter:
    """Who looks at this page: an anonymous id from the cookie, or from the address where cookies are refused."""
    known: str | None = st.session_state.get("visitor")
    if known is None:
        offered = (st.context.cookies.get(COOKIE), st.query_params.get("visitor"))
        known = next((v for v in offered if v and _VISITOR.fullmatch(v)), None) or secrets.token_urlsafe(16)
        st.session_state["visitor"] = known
    return Submitter(known)


def names_of(jobs: Iterable[Job]) -> dict[str, str]:
    """The names visitors have given themselves, by visitor; those without one are left out."""
    return visitors.names(the_studio().db, [job.submitter for job in jobs])
