"""What goes wrong, as one sentence on the page."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
import streamlit as st
from pydantic import ValidationError

from characters.brief import Term, Translatable, in_brief
from generator.wording import Notice
from masking import for_visitors, masked
from pages.shared.language import N_, _
from pages.shared.text import label
from settings import misread
from studio.errors import SENTENCES, Refused

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
# What its sentences are about, where that is not written with them.
NAMED = (
    *(N_("event code"), N_("refused word"), N_("name"), N_("title"), N_("prompt"), N_("search"), N_("key's name")),
    *(N_("name of the board"), N_("pictures"), N_("database"), N_("work folder")),
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
        problem(sentence(error, for_host=for_host))
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


def sentence(error: Exception, *, for_host: bool = False) -> str:
    """What an error says, in the language of the page where it is the studio's own.

    Of what is wrong with the machine the host reads the whole, as the machine says it, behind what visitors read.
    """
    public: str | None = getattr(error, "public", None)
    if public is not None and not for_host:
        return _(public)
    said = translated(error) if isinstance(error, Translatable) else str(error)
    if public is not None and said == str(error) and _(public) != public:
        said = f"{_(public)} {said}"
    if for_host:
        return masked(said)
    return said if isinstance(error, Refused) else for_visitors(said)


def translated(said: Translatable | Notice) -> str:
    """A sentence with what goes into its {places}, in the language of the page."""
    if not said.sentence:
        return str(said)
    return _(said.sentence, **{name: _part(value) for name, value in said.values.items()})


def _part(value: object) -> object:
    return _(value.sentence, **value.values) if isinstance(value, Term) else value


def problem(sentence: str) -> None:
    """Show an error; whatever a visitor typed is in it as plain text."""
    st.error(label(in_brief(sentence)), icon=":material/error:")
