"""Sheets: candidates, variations and comparisons as contact sheets; one of them under ?sheet=<id>."""

from __future__ import annotations

import streamlit as st

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
from studio.context import Submitter
from studio.sheets import own_sheets

SHOWN = 30


def page() -> None:
    """One sheet where the address names one, else the visitor's own."""
    sheet_id = st.query_params.get("sheet")
    if sheet_id:
        sheet.show(sheet_id, the_visitor())
    else:
        _list(the_visitor())


def _list(visitor: Submitter) -> None:
    own = own_sheets(the_studio(), visitor, limit=SHOWN)
    if not own:
        empty_state(
            _("No sheets yet"),
            _("Ask for several pictures of one prompt, vary a finished picture, or compare engines and settings."),
            page=COMPARE,
            link=_("Compare"),
        )
        return
    files = files_of([ids[0] for _sheet, ids in own])
    for one, ids in own:
        kind, pictures = _(KINDS[one.kind]), ngettext("{n} picture", "{n} pictures", len(ids))
        about = [kind, pictures, ago(one.created_at)]
        listed("sheet", one.id, one.prompt, about, files.get(ids[0], {}))


if __name__ == "__main__":
    show(page)
