"""Disk used, the evening as one zip, and the end of its data."""

from __future__ import annotations

import streamlit as st

from db.datasets.records import Dataset
from db.errors import UnknownArtefact
from db.evening import erasures
from db.evening.erasing import Forgotten
from db.evening.retention import KEEP_BEST, Due
from db.rules.host_rules import KEEP_FAVOURITES, MAX_KEEP_DAYS, MAX_KEEP_FAVOURITES, MAX_KEEP_GB, Rules
from pages.components.deleting import for_good
from pages.components.facts import facts
from pages.components.notices import disk_note
from pages.components.picture import beside
from pages.hosting.queue import act
from pages.hosting.sign_in import the_host
from pages.shared.errors import plain_errors
from pages.shared.files import forget_files
from pages.shared.studio import house_rules, the_settings, the_studio
from pages.shared.text import ago, esc, label, size
from studio import datasets, host, room
from studio.left import sentences

SPANS = {"Everything": None, "The last 6 hours": 6.0, "The last 24 hours": 24.0, "The last 7 days": 168.0}
LOOK_AGAIN_S = 2.0  # while an executor is about to remove what it has
MAX_DOWNLOAD_BYTES = 1 << 30  # a download passes through the web app's memory


def data_section() -> None:
    """Four parts: what is there, how long it is kept, export, delete."""
    with plain_errors(for_host=True):
        _kept()
        st.header("Keep", anchor=False)
        _keep()
        st.header("Export", anchor=False)
        _export()
        st.header("Delete", anchor=False)
        _delete()


def _kept() -> None:
    disk_note(for_host=True)
    kept = host.usage(the_studio(), the_host())
    st.header("Disk used", anchor=False)
    rows = [("All files", f"{size(kept.files)}"), ("Database", size(kept.database))]
    for disk in room.disks(the_studio()):
        rows.append((f"Free for the {disk.used_for}", size(disk.free)))
    rows.append(("To stay free", size(the_settings().min_free_bytes)))
    rows += [
        (kind.capitalize() if kind.islower() and len(kind) > 4 else kind.upper(), f"{size(total)} in {count} files")
        for kind, (count, total) in kept.kinds.items()
    ]
    facts(rows)
    training = kept.training
    if training:
        parts = [f"{count} {kind if count == 1 else kind + 's'} {size(total)}" for kind, count, total in training]
        st.caption(
            f"Training takes {size(sum(total for _, _, total in training))} of it: {', '.join(parts)}. Datasets go "
            "when whoever gave them deletes them, when you do, or when the event ends; states when their run does, "
            "models with their run or on the page Models."
        )
    if found := datasets.everybodys(the_studio(), the_host()):
        with st.expander(f"Datasets ({len(found)})", icon=":material/photo_library:"):
            for one in found:
                _dataset(one)


def _dataset(one: Dataset) -> None:
    """One that somebody gave, with a look at it and a way to delete it."""
    with st.container(key=f"row_dataset_{one.id}"), st.container(horizontal=True, vertical_alignment="center"):
        with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=f"told_{one.id}"):
            try:
                sheet = datasets.sheet(the_studio(), the_host(), one.id)
            except UnknownArtefact:
                sheet = None
            told = [f"{one.count} pictures", size(one.bytes), ago(one.created_at), f"licence: {one.licence}"]
            beside(sheet, one.name, told, key=f"dataset_{one.id}", alt=one.name, instead="Gone", side=112)
        with st.popover("Delete", icon=":material/delete:", type="tertiary", key=f"deletion_{one.id}"):
            st.text("Runs that still learn from it fail; models that have learnt from it stay. This cannot be undone.")
            for_good(f"delete_{one.id}", act, datasets.delete, one.id)


def _keep() -> None:
    st.caption(
        "Where a limit is set, older pictures are removed whole, with their files. What visitors keep as favourites, "
        "on boards or marked in a refinement stays, as many of each visitor as you set, those kept last; so do the "
        f"{KEEP_BEST} best voted. Without limits everything is kept."
    )
    rules = house_rules()
    with st.form("host_keep", border=False):
        days_cell, bytes_cell, favourites_cell = st.columns(3)
        with days_cell:
            days = st.number_input(
                "Days", 1, MAX_KEEP_DAYS, rules.keep_days, key="host_keep_days", placeholder="for good"
            )
        with bytes_cell:
            gb = st.number_input(
                "GB of files", 1, MAX_KEEP_GB, rules.keep_gb, key="host_keep_gb", placeholder="as many as there are"
            )
        with favourites_cell:
            favourites = st.number_input(
                "Favourites of each visitor",
                1,
                MAX_KEEP_FAVOURITES,
                rules.keep_favourites,
                key="host_keep_favourites",
                placeholder=str(KEEP_FAVOURITES),
            )
        pressed = st.form_submit_button("Save", icon=":material/auto_delete:")
    if pressed:
        with plain_errors(for_host=True):
            host.set_retention(the_studio(), the_host(), days, gb, favourites)
    rules = house_rules()
    if rules.keep_days is None and rules.keep_gb is None:
        return
    due = host.due(the_studio(), the_host())
    kept = f" {due.kept} older ones stay." if due.kept else ""
    if due.jobs:
        st.caption(
            f"{due.jobs} {'job' if due.jobs == 1 else 'jobs'} with {size(due.size)} of files will be removed within "
            f"some 20 minutes, by the executors{_beyond(due, rules)}.{kept}"
        )
    else:
        st.caption(f"Nothing is to be removed now.{kept}")


def _beyond(due: Due, rules: Rules) -> str:
    """What goes although somebody keeps it."""
    if not due.beyond:
        return ""
    most = rules.keep_favourites or KEEP_FAVOURITES
    are = "is" if due.beyond == 1 else "are"
    return f"; {due.beyond} of them {are} kept by visitors, beyond the {most} newest of each"


def _export() -> None:
    st.caption(
        "One zip with every picture that is not hidden, its animation and settings, the votes, and a gallery that "
        "opens without a server. Visitors are numbered in it; names they gave are shown."
    )
    with st.form("host_export", border=False):
        title_cell, span_cell = st.columns(2)
        with title_cell:
            title = st.text_input("Title", value="Pictures of the evening", max_chars=host.MAX_TITLE_LENGTH)
        with span_cell:
            span = st.selectbox("Pictures of", list(SPANS))
        pressed = st.form_submit_button("Export", icon=":material/archive:")
    if pressed:
        with plain_errors(for_host=True), st.spinner("Writing the zip"):
            path, done = host.export(the_studio(), the_host(), title, SPANS[span])
            st.success(label(f"{done.pictures} pictures and {done.votes} votes in {path.name}, {size(done.size)}."))
    for path in host.exports(the_studio(), the_host()):
        length = path.stat().st_size
        with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=f"row_{path.stem}"):
            st.html(
                f'<div class="t2i-prompt">{esc(path.name)}</div>'
                f'<div class="t2i-meta">{size(length)} · {esc(path.resolve().parent)}</div>'
            )
            if length <= MAX_DOWNLOAD_BYTES:
                st.download_button(
                    "Download",
                    host.read_export(the_studio(), the_host(), path.name),
                    file_name=path.name,
                    mime="application/zip",
                    key=f"download_{path.stem}",
                    icon=":material/download:",
                    on_click="ignore",
                )
            st.button(
                "Delete",
                key=f"delete_{path.stem}",
                icon=":material/delete:",
                on_click=act,
                args=(host.delete_export, path.name),
                help="Delete this zip",
            )


def _delete() -> None:
    zips = host.exports(the_studio(), the_host())
    st.caption(
        "Deletes every job with its pictures, every upload, dataset, model that was trained or imported, vote, sheet, "
        "name and ban, from the database, the store "
        "and the executors' work folders. The rules are kept. The queue must be paused and nothing may run. This "
        "cannot be undone."
    )
    with st.form("host_forget", border=False, clear_on_submit=True):
        with_exports = bool(zips) and st.checkbox(f"The {len(zips)} exported zips above as well", key="forget_exports")
        typed = st.text_input(f"Type {host.CONFIRMATION} to confirm")
        pressed = st.form_submit_button("Delete the event's data", icon=":material/delete_forever:")
    if pressed:
        with plain_errors(for_host=True):
            gone = host.forget(the_studio(), the_host(), typed, with_exports=with_exports)
            forget_files()
            st.session_state["forgotten"] = gone
            st.rerun()  # what is told above is of before
    waits = any(one.live for one in erasures.unheard(the_studio().db))
    st.fragment(_left, run_every=LOOK_AGAIN_S if waits else None)()


def _left() -> None:
    """What is there after the event was deleted: said after that, and for as long as something is."""
    gone: Forgotten | None = st.session_state.get("forgotten")
    with plain_errors(for_host=True):
        waiting = erasures.unheard(the_studio().db)
        if gone is None and not waiting:
            return
        found = host.left(the_studio(), the_host())
        if gone is not None:
            st.success(f"{gone.jobs} jobs and {gone.files} files were deleted.")
            if not gone.compacted:
                st.info(
                    "The database's file still has room in which deleted rows were, since somebody was reading it: it "
                    "is written anew when you delete again."
                )
        exports = host.exports(the_studio(), the_host())
        if found.nothing:
            st.text("Looked again: nothing is left of it in the database, the store and the work folders.")
        else:
            st.warning("Looked again: this is left of the event that was deleted.")
        for said in sentences(found, exports if gone is not None else ()):
            st.text(said)
        for one in found.executors:
            if not one.live:
                st.button(
                    label(f"{one.worker.hostname} is gone for good, or I have cleared it"),
                    key=f"write_off_{one.worker.id}",
                    on_click=act,
                    args=(host.write_off, one.worker.id),
                )
