"""What goes wrong, as one sentence on the page."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
import streamlit as st
from pydantic import ValidationError

from pages.shared.language import _
from pages.shared.text import label
from studio.errors import SENTENCES, Refused, Term


@contextmanager
def plain_errors() -> Iterator[None]:
    """What goes wrong in the block reaches the visitor as one sentence, and the page stays usable."""
    try:
        yield
    except SENTENCES as error:
        problem(sentence(error))
    except sa.exc.SQLAlchemyError:
        logging.getLogger(__name__).exception("a page could not be drawn")
        problem(_("The database cannot answer this page; the log of the web app says why."))
    except ValidationError as error:
        wrong = "; ".join(f"T2I_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        problem(f"The configuration cannot be read. {wrong}.")


def sentence(error: Exception) -> str:
    """What an error says, in the visitor's language where it is the studio's own."""
    if not isinstance(error, Refused):
        return str(error)
    return _(error.sentence, **{name: _(v) if isinstance(v, Term) else v for name, v in error.values.items()})


def problem(sentence: str) -> None:
    """Show an error; whatever a visitor typed is in it as plain text."""
    st.error(label(sentence), icon=":material/error:")
