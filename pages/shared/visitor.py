"""Who looks at a page, and what visitors call themselves."""

from __future__ import annotations

import time
from collections.abc import Iterable

import streamlit as st
from pydantic import ValidationError

from db.errors import DbError
from db.jobs import Job
from db.rules import visitors
from db.rules.salt import salt
from pages.shared.studio import the_studio
from studio import visitor_ids
from studio.addresses import stand_in
from studio.context import Submitter
from studio.visitor_ids import COOKIE, Issued


@st.cache_resource(show_spinner=False)
def secret() -> bytes:
    """What ids and addresses are hashed with. Raises DbError, ValidationError."""
    return salt(the_studio().db)


def the_visitor() -> Submitter:
    """Who looks at this page: an anonymous id from the signed cookie, or one for this session where there is none."""
    try:
        if "visitor" not in st.session_state:
            found = _from_cookie()
            st.session_state["visitor_kept"] = found is not None
            known = found or Issued(visitor_ids.new_id(), time.time())
            st.session_state["visitor"], st.session_state["visitor_since"] = known.id, known.since
        address = stand_in(_peer(), secret())
    except (DbError, ValidationError):  # the page itself says what is wrong; the next run looks again
        return Submitter(st.session_state.get("visitor") or visitor_ids.new_id())
    return Submitter(st.session_state["visitor"], address=address, since=st.session_state.get("visitor_since"))


def _peer() -> str:
    """The address of the browser; Streamlit gives none for this machine's own."""
    return st.context.ip_address or "127.0.0.1"


def is_kept() -> bool:
    """Whether the browser will still be this visitor after a reload."""
    return bool(st.session_state.get("visitor_kept", True))


def _from_cookie() -> Issued | None:
    cookie = st.context.cookies.get(COOKIE)
    return visitor_ids.read(secret(), cookie) or visitor_ids.adopted(the_studio().db, cookie)


def names_of(jobs: Iterable[Job]) -> dict[str, str]:
    """The names visitors have given themselves, by visitor; those without one are left out."""
    return visitors.names(the_studio().db, [job.submitter for job in jobs])
