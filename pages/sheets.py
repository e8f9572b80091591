"""Sheets: candidates, variations and comparisons as contact sheets; one of them under ?sheet=<id>."""

from __future__ import annotations

import streamlit as st

from db import submissions
from pages.components import sheet
from pages.components.notices import empty_state
from pages.components.picture import listed
from pages.components.sheet import KINDS
from pages.shared.files import files_of
from pages.shared.language import _, ngettext
from pages.shared.navigation import COMPARE, show
from pages.shared.studio import the_studio
from pages.shared.text import ago
from pages.shared.visitor import the_visitor

SHOWN = 30


def page() -> None:
    """One sheet where the address names one, else the visitor's own."""
    sheet_id = st.query_params.get("sheet")
    if sheet_id:
        sheet.show(sheet_id, the_visitor())
    else:
        _list(the_visitor())


def _list(visitor: str) -> None:
    own = submissions.of_submitter(the_studio().db, visitor, limit=SHOWN)
    if not own:
        empty_state(
            _("No sheets yet"),
            _("Ask for several pictures of one prompt, vary a finished picture, or compare engines and settings."),
            page=COMPARE,
            link=_("Compare"),
        )
        return
    firsts = submissions.pictures_of_each(the_studio().db, [one.id for one in own])
    own = [one for one in own if firsts[one.id]]
    files = files_of([firsts[one.id][0] for one in own])
    for one in own:
        ids = firsts[one.id]
        kind, pictures = _(KINDS[one.kind]), ngettext("{n} picture", "{n} pictures", len(ids))
        about = [kind, pictures, ago(one.created_at)]
        listed("sheet", one.id, one.prompt, about, files.get(ids[0], {}))


if __name__ == "__main__":
    show(page)
