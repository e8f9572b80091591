"""What goes wrong, as one sentence on the page."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
import streamlit as st
from pydantic import ValidationError

from db.errors import DbError
from generator.params import BadParams
from generator.registry import UnknownName
from pages.shared.language import _
from pages.shared.text import label


@contextmanager
def plain_errors() -> Iterator[None]:
    """What goes wrong in the block reaches the visitor as one sentence, and the page stays usable."""
    try:
        yield
    except (DbError, BadParams, UnknownName) as error:
        problem(str(error))
    except sa.exc.SQLAlchemyError:
        logging.getLogger(__name__).exception("a page could not be drawn")
        problem(_("The database cannot answer this page; the log of the web app says why."))
    except ValidationError as error:
        wrong = "; ".join(f"T2I_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        problem(f"The configuration cannot be read. {wrong}.")


def problem(sentence: str) -> None:
    """Show an error; whatever a visitor typed is in it as plain text."""
    st.error(label(sentence), icon=":material/error:")
