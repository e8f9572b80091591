"""Sheets: candidates, variations and comparisons as contact sheets; one of them under ?sheet=<id>."""

from __future__ import annotations

import streamlit as st

from db.sheets import submissions
from pages import _sheet
from pages import _widgets as w
from pages._language import _, ngettext

SHOWN = 30


def page() -> None:
    """One sheet where the address names one, else the visitor's own."""
    sheet_id = st.query_params.get("sheet")
    if sheet_id:
        _sheet.show(sheet_id, w.visitor())
    else:
        _list(w.visitor())


def _list(visitor: str) -> None:
    own = submissions.of_submitter(w.studio().db, visitor, limit=SHOWN)
    if not own:
        w.empty_state(
            _("No sheets yet"),
            _("Ask for several pictures of one prompt, vary a finished picture, or compare engines and settings."),
            page=w.COMPARE,
            link=_("Compare"),
        )
        return
    firsts = submissions.pictures_of_each(w.studio().db, [sheet.id for sheet in own])
    own = [sheet for sheet in own if firsts[sheet.id]]
    files = w.files_of([firsts[sheet.id][0] for sheet in own])
    for sheet in own:
        ids = firsts[sheet.id]
        kind, pictures = _(_sheet.KINDS[sheet.kind]), ngettext("{n} picture", "{n} pictures", len(ids))
        about = [kind, pictures, w.ago(sheet.created_at)]
        w.listed("sheet", sheet.id, sheet.prompt, about, files.get(ids[0], {}))


if __name__ == "__main__":
    w.show(page)
