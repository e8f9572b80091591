"""What a run learns from: a zip, the gallery, or what was given before; with the report and the contact sheet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from db.datasets.records import Dataset
from db.errors import UnknownArtefact
from pages.components.deleting import for_good
from pages.components.facts import facts
from pages.components.notices import empty_state
from pages.shared.errors import plain_errors
from pages.shared.language import N_, _, number
from pages.shared.studio import the_studio
from pages.shared.text import ago, esc
from pages.training import dropped
from studio import datasets
from studio.context import Submitter
from studio.datasets import CHOICES, MAX_LICENCE, MAX_NAME

_ZIP, _GALLERY, _MINE = N_("A zip"), N_("From the gallery"), N_("Given before")
_CHOICES = {
    "favourites": N_("My favourites"),
    "best": N_("Best in votes"),
    "mine": N_("All that I drew"),
}


def choose(visitor: Submitter) -> Dataset | None:
    """The dataset that is chosen, shown with its report; None while there is none."""
    mine = datasets.listed(the_studio(), visitor)
    ways = [_ZIP, _GALLERY, *([_MINE] if mine else [])]
    if st.session_state.pop("train_kept", None) and mine:
        st.session_state["train_way"] = _MINE
    first = _MINE if mine else _ZIP
    way = st.segmented_control(
        _("Where they come from"), ways, default=first, key="train_way", format_func=_, required=True
    )
    if way == _ZIP:
        _from_zip(visitor)
        return None
    if way == _GALLERY:
        _from_gallery(visitor)
        return None
    return _one_of(mine, visitor)


def given_before(visitor: Submitter) -> None:
    """What they have given, to be looked at and deleted, where nothing can be trained; nothing where that is none."""
    mine = datasets.listed(the_studio(), visitor)
    if mine:
        st.header(_("Given before"), anchor=False)
        _one_of(mine, visitor)


def _from_zip(visitor: Submitter) -> None:
    st.caption(
        _(
            "Pictures, each with a caption: in metadata.csv or metadata.jsonl (file_name, text), or in a .txt file of "
            "its name. Nobody else is shown them; models that learn from them may show something like them."
        )
    )
    zip_file = dropped.file("train_zip", _("Zip of captioned pictures"), "zip", _("Another zip"))
    name, licence = _names()
    if st.button(_("Check and keep"), type="primary", icon=":material/fact_check:", key="train_keep_zip"):
        if zip_file is None:
            st.warning(_("Choose a zip first."), icon=":material/upload_file:")
            return
        called = name or zip_file.name.removesuffix(".zip")[:MAX_NAME]
        path = zip_file.path
        _kept(lambda **told: datasets.add_zip(the_studio(), visitor, path, name=called, licence=licence, **told))


def _from_gallery(visitor: Submitter) -> None:
    with st.form("train_gallery", border=False):
        which = st.selectbox(_("Drawings"), CHOICES, format_func=lambda one: _(_CHOICES[one]))
        name, licence = _names()
        if st.form_submit_button(_("Check and keep"), type="primary", icon=":material/fact_check:"):
            called = name or _(_CHOICES[which])
            _kept(
                lambda **told: datasets.add_gallery(the_studio(), visitor, which, name=called, licence=licence, **told)
            )


def _names() -> tuple[str, str]:
    left, right = st.columns(2)
    name = left.text_input(_("Name of the data"), max_chars=MAX_NAME)
    licence = right.text_input(
        _("Licence of the pictures"), max_chars=MAX_LICENCE, help=_("As you know it; the card of the model says it.")
    )
    return name, licence


def _kept(add: Callable[..., Dataset]) -> None:
    """Check and keep, saying how far that is; then what was kept is chosen."""
    bar = st.progress(0.0, _("Looking at the pictures"))
    with plain_errors():
        made = add(on_progress=lambda done, total: bar.progress(done / max(total, 1)))
        st.session_state["train_dataset"] = made.id
        st.session_state["train_kept"] = True
        dropped.let_go("train_zip")
        st.rerun()
    bar.empty()


def _one_of(mine: list[Dataset], visitor: Submitter) -> Dataset | None:
    by_id = {one.id: one for one in mine}
    if st.session_state.get("train_dataset") not in by_id:
        st.session_state["train_dataset"] = mine[0].id
    chosen = st.selectbox(
        _("Data"), [*by_id], key="train_dataset", format_func=lambda one: f"{by_id[one].name} ({by_id[one].count})"
    )
    found = by_id[chosen]
    look, told = st.columns([5, 6], gap="large")
    with look:
        try:
            st.image(datasets.sheet(the_studio(), visitor, found.id), alt=_("Some of the pictures"), width="stretch")
        except UnknownArtefact:
            empty_state(_("The pictures are gone"), _("Delete this and give them again."))
    with told:
        report(found)
        with st.popover(_("Delete these data"), icon=":material/delete:", type="tertiary"):
            st.text(_("Runs that still learn from them fail; models that have learnt from them stay."))
            for_good(f"delete_data_{found.id}", _delete, found.id, visitor)
    return found


def report(found: Dataset) -> None:
    """What was found when it was checked, as a table of facts and of faults."""
    told = found.report
    spread = {name: told.get(name) or {} for name in ("width", "height", "caption")}
    rows = [
        (_("Pictures"), number(found.count, ",")),
        (_("Sizes"), _range(spread["width"], spread["height"])),
        (_("Captions"), _("{least} to {most} characters", **_ends(spread["caption"]))),
        (_("Licence"), found.licence),
        (_("Given"), ago(found.created_at)),
    ]
    facts(rows)
    for problem in told.get("problems", ()):
        examples = problem.get("examples") or ()
        about = f": {examples[0][0]}. {examples[0][1]}" if examples else ""
        left_out = " " + _("(left out)") if problem.get("unusable") else ""
        st.html(f'<div class="t2i-meta">{problem["count"]} × {esc(problem["kind"])}{esc(left_out)}{esc(about)}</div>')


def _ends(spread: dict[str, Any]) -> dict[str, str]:
    return {"least": number(spread.get("least", 0), "g"), "most": number(spread.get("most", 0), "g")}


def _range(width: dict[str, Any], height: dict[str, Any]) -> str:
    least = f"{width.get('least', 0):g} × {height.get('least', 0):g}"
    most = f"{width.get('most', 0):g} × {height.get('most', 0):g} px"
    return most if most.startswith(least) else _("{least} to {most}", least=least, most=most)


def _delete(dataset_id: str, visitor: Submitter) -> None:
    with plain_errors():
        datasets.delete(the_studio(), visitor, dataset_id)
        st.session_state.pop("train_dataset", None)
        st.toast(_("Deleted."))
