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
from pages.shared.download import download_button
from pages.shared.errors import plain_errors, translated
from pages.shared.files import forget_files
from pages.shared.language import N_, _, chosen_in_words, named, ngettext, number
from pages.shared.studio import house_rules, the_settings, the_studio
from pages.shared.text import ago, esc, label, size
from studio import datasets, host, room
from studio.left import sentences

SPANS = {
    N_("Everything"): None,
    N_("The last 6 hours"): 6.0,
    N_("The last 24 hours"): 24.0,
    N_("The last 7 days"): 168.0,
}
# What kinds of files are called; those that are not here by the ending of their names.
KINDS = {
    **{"picture": N_("Pictures"), "thumbnail": N_("Thumbnails"), "preview": N_("Previews"), "sheet": N_("Sheets")},
    **{"result": N_("Results"), "state": N_("Saved states"), "upload": N_("Pictures given"), "card": N_("Cards")},
    **{"dataset": N_("Datasets"), "training state": N_("Training states"), "model": N_("Models")},
    **{"history": N_("Histories"), "curves": N_("Curves"), "samples": N_("Samples"), "draft": N_("Drafts")},
    "tensorboard": N_("Events for TensorBoard"),
}
FREE = {
    "pictures": N_("Free for the pictures"),
    "database": N_("Free for the database"),
    "work folder": N_("Free for the work folder"),
}
LOOK_AGAIN_S = 2.0  # while an executor is about to remove what it has
MAX_DOWNLOAD_BYTES = 1 << 30  # a download passes through the web app's memory


def data_section() -> None:
    """Four parts: what is there, how long it is kept, export, delete."""
    with plain_errors(for_host=True):
        _kept()
        st.header(_("Keep"), anchor=False)
        _keep()
        st.header(_("Export"), anchor=False)
        _export()
        st.header(_("Delete"), anchor=False)
        _delete()


def _kept() -> None:
    disk_note(for_host=True)
    kept = host.usage(the_studio(), the_host())
    st.header(_("Disk used"), anchor=False)
    rows = [(_("All files"), size(kept.files)), (_("Database"), size(kept.database))]
    for disk in room.disks(the_studio()):
        rows.append((_(FREE[disk.used_for]), size(disk.free)))
    rows.append((_("To stay free"), size(the_settings().min_free_bytes)))
    for kind, (count, total) in kept.kinds.items():
        called = _(KINDS[kind]) if kind in KINDS else kind.upper()
        rows.append((called, ngettext("{size} in {n} file", "{size} in {n} files", count, size=size(total))))
    facts(rows)
    training = kept.training
    if training:
        parts = [f"{_(KINDS[kind])} {size(total)}" for kind, _count, total in training]
        st.caption(
            _(
                "Training takes {size} of it: {parts}. Datasets go when whoever gave them deletes them, when you do, "
                "or when the event ends; states when their run does, models with their run or on the page Models.",
                size=size(sum(total for _kind, _count, total in training)),
                parts=", ".join(parts),
            )
        )
    if found := datasets.everybodys(the_studio(), the_host()):
        with st.expander(_("Datasets ({count})", count=len(found)), icon=":material/photo_library:"):
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
            told = [ngettext("{n} picture", "{n} pictures", one.count), size(one.bytes), ago(one.created_at)]
            told.append(_("licence: {licence}", licence=one.licence))
            beside(sheet, one.name, told, key=f"dataset_{one.id}", alt=one.name, instead=_("Gone"), side=112)
        with st.popover(_("Delete"), icon=":material/delete:", type="tertiary", key=f"deletion_{one.id}"):
            st.text(
                _("Runs that still learn from it fail; models that have learnt from it stay. This cannot be undone.")
            )
            for_good(f"delete_{one.id}", act, datasets.delete, one.id)


def _keep() -> None:
    st.caption(
        _(
            "Where a limit is set, older pictures are removed whole, with their files. What visitors keep as "
            "favourites, on boards or marked in a refinement stays, as many of each visitor as you set, those kept "
            "last; so do the {most} best voted. Without limits everything is kept.",
            most=KEEP_BEST,
        )
    )
    rules = house_rules()
    with st.form("host_keep", border=False):
        days_cell, bytes_cell, favourites_cell = st.columns(3)
        with days_cell:
            days = st.number_input(
                _("Days"), 1, MAX_KEEP_DAYS, rules.keep_days, key="host_keep_days", placeholder=_("for good")
            )
        with bytes_cell:
            gb = st.number_input(
                _("GB of files"),
                1,
                MAX_KEEP_GB,
                rules.keep_gb,
                key="host_keep_gb",
                placeholder=_("as many as there are"),
            )
        with favourites_cell:
            favourites = st.number_input(
                _("Favourites of each visitor"),
                1,
                MAX_KEEP_FAVOURITES,
                rules.keep_favourites,
                key="host_keep_favourites",
                placeholder=str(KEEP_FAVOURITES),
            )
        pressed = st.form_submit_button(_("Save"), key="host_keep_save", icon=":material/auto_delete:")
    if pressed:
        with plain_errors(for_host=True):
            host.set_retention(the_studio(), the_host(), days, gb, favourites)
    rules = house_rules()
    if rules.keep_days is None and rules.keep_gb is None:
        return
    due = host.due(the_studio(), the_host())
    st.caption(" ".join(_removed(due, rules)))


def _removed(due: Due, rules: Rules) -> list[str]:
    """What goes, what of it goes although somebody keeps it, and what stays: a sentence each."""
    told = [_("Nothing is to be removed now.")]
    if due.jobs:
        told = [
            ngettext(
                "{n} job with {size} of files will be removed within some 20 minutes, by the executors.",
                "{n} jobs with {size} of files will be removed within some 20 minutes, by the executors.",
                due.jobs,
                size=size(due.size),
            )
        ]
    if due.jobs and due.beyond:
        most = rules.keep_favourites or KEEP_FAVOURITES
        told.append(
            ngettext(
                "{n} of them is kept by visitors, beyond the {most} newest of each.",
                "{n} of them are kept by visitors, beyond the {most} newest of each.",
                due.beyond,
                most=number(most, ","),
            )
        )
    if due.kept:
        told.append(ngettext("{n} older one stays.", "{n} older ones stay.", due.kept))
    return told


def _export() -> None:
    st.caption(
        _(
            "One zip with every picture that is not hidden, its animation and settings, the votes, and a gallery that "
            "opens without a server. Visitors are numbered in it; names they gave are shown."
        )
    )
    with st.form("host_export", border=False):
        title_cell, span_cell = st.columns(2)
        with title_cell:
            usual = _("Pictures of the evening")
            title = st.text_input(_("Title"), value=usual, max_chars=host.MAX_TITLE_LENGTH)
        with span_cell:
            key = chosen_in_words("host_export_span")
            span = st.selectbox(_("Pictures of"), list(SPANS), format_func=named(SPANS), key=key)
        pressed = st.form_submit_button(_("Export"), key="host_export_now", icon=":material/archive:")
    if pressed:
        with plain_errors(for_host=True), st.spinner(_("Writing the zip")):
            path, done = host.export(the_studio(), the_host(), title, SPANS[span])
            pictures = ngettext("{n} picture", "{n} pictures", done.pictures)
            given = ngettext("{n} vote", "{n} votes", done.votes)
            told = {"pictures": pictures, "votes": given, "file": path.name, "size": size(done.size)}
            st.success(label(_("{pictures} and {votes} in {file}, {size}.", **told)))
    for path in host.exports(the_studio(), the_host()):
        length = path.stat().st_size
        with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=f"row_{path.stem}"):
            st.html(
                f'<div class="t2i-prompt">{esc(path.name)}</div>'
                f'<div class="t2i-meta">{size(length)} · {esc(path.resolve().parent)}</div>'
            )
            if length <= MAX_DOWNLOAD_BYTES:
                download_button(
                    _("Download"),
                    host.read_export(the_studio(), the_host(), path.name),
                    file_name=path.name,
                    mime="application/zip",
                    key=f"download_{path.stem}",
                )
            st.button(
                _("Delete"),
                key=f"delete_{path.stem}",
                icon=":material/delete:",
                on_click=act,
                args=(host.delete_export, path.name),
                help=_("Delete this zip"),
            )


def _delete() -> None:
    zips = host.exports(the_studio(), the_host())
    st.caption(
        _(
            "Deletes every job with its pictures, every upload, dataset, model that was trained or imported, vote, "
            "sheet, name and ban, from the database, the store and the executors' work folders. The rules are kept. "
            "The queue must be paused and nothing may run. This cannot be undone."
        )
    )
    with st.form("host_forget", border=False, clear_on_submit=True):
        also = ngettext("The exported zip above as well", "The {n} exported zips above as well", len(zips))
        with_exports = bool(zips) and st.checkbox(also, key="forget_exports")
        typed = st.text_input(_("Type {word} to confirm", word=host.CONFIRMATION), key="host_forget_typed")
        pressed = st.form_submit_button(
            _("Delete the event's data"), key="host_forget_now", icon=":material/delete_forever:"
        )
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
            jobs, files = ngettext("{n} job", "{n} jobs", gone.jobs), ngettext("{n} file", "{n} files", gone.files)
            st.success(_("Deleted: {jobs} and {files}.", jobs=jobs, files=files))
            if not gone.compacted:
                st.info(
                    _(
                        "The database's file still has room in which deleted rows were, since somebody was reading it: "
                        "it is written anew when you delete again."
                    )
                )
        exports = host.exports(the_studio(), the_host())
        if found.nothing:
            st.text(_("Looked again: nothing is left of it in the database, the store and the work folders."))
        else:
            st.warning(_("Looked again: this is left of the event that was deleted."))
        for said in sentences(found, exports if gone is not None else ()):
            st.text(translated(said))
        for one in found.executors:
            if not one.live:
                st.button(
                    label(_("{machine} is gone for good, or I have cleared it", machine=one.worker.hostname)),
                    key=f"write_off_{one.worker.id}",
                    on_click=act,
                    args=(host.write_off, one.worker.id),
                )
