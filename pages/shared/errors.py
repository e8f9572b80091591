"""What goes wrong, as one sentence on the page."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
import streamlit as st
from pydantic import ValidationError

from characters.brief import in_brief
from masking import masked
from pages.shared.language import N_, _
from pages.shared.text import label
from settings import misread
from studio.errors import SENTENCES, Refused, Term, told

SAID_AGAIN_S = 60.0
# What `public` of db/errors.py says, for the translations.
PUBLIC = (
    N_("The studio cannot reach its database."),
    N_("The studio's database was replaced while it ran; the host has to start the studio again."),
    N_("The studio's database is of a newer version; the host has to update the studio."),
    N_("The studio cannot reach its pictures."),
    N_("The studio has no space left for pictures."),
    N_("The studio's disk is nearly full: nothing new is taken until the host has made room. Try again later."),
)
# And what it says to visitors in the same words each time.
SAID = (
    N_("This event has a code: scan the QR code on the wall, or type the code that stands there, then ask again."),
    N_("The host has closed the queue and the votes to you; ask the host to open them again."),
)


@contextmanager
def plain_errors(*, for_host: bool = False) -> Iterator[None]:
    """What goes wrong in the block reaches the visitor as one sentence, and the page stays usable.

    What is wrong with the machine names its addresses and folders: visitors read that something is, the log has all of
    it, and so has the page where it is the host's (for_host).
    """
    try:
        yield
    except SENTENCES as error:
        if getattr(error, "public", None) is not None:
            _log(str(error))
        problem(masked(str(error)) if for_host else sentence(error))
    except sa.exc.SQLAlchemyError:
        logging.getLogger(__name__).exception("a page could not be drawn")
        problem(_("The database cannot answer this page; the log of the web app says why."))
    except ValidationError as error:
        problem(misread(error))


@st.cache_resource(show_spinner=False)
def _said() -> dict[str, float]:
    return {}


def _log(text: str) -> None:
    """Say what is wrong with the machine, not for each visitor and each second anew."""
    said, now = _said(), time.monotonic()
    if now - said.get(text, -SAID_AGAIN_S) >= SAID_AGAIN_S:
        said.clear()
        said[text] = now
        logging.getLogger(__name__).error(masked(text))


def sentence(error: Exception) -> str:
    """What an error says, in the visitor's language where it is the studio's own."""
    public: str | None = getattr(error, "public", None)
    if public is not None:
        return _(public)
    if not isinstance(error, Refused):
        said = told(error)
        return _(said) if said in SAID else said
    return _(error.sentence, **{name: _(v) if isinstance(v, Term) else v for name, v in error.values.items()})


def problem(sentence: str) -> None:
    """Show an error; whatever a visitor typed is in it as plain text."""
    st.error(label(in_brief(sentence)), icon=":material/error:")
