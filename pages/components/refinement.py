"""One refinement: its rows, each with its own marks and settings, drawn from the database on every device alike."""

from __future__ import annotations

from functools import partial

import streamlit as st

from db.errors import UnknownRefinement
from db.jobs import Job, State
from db.sheets import refinements
from db.sheets.refinements import Refinement, Stage
from db.sheets.submissions import Member
from generator.params.vary import COUNT, SKIP_RATE
from pages.components import job_card, results
from pages.components.notices import empty_state, executor_missing
from pages.components.picture import draw_picture
from pages.components.sheet import KINDS, standing
from pages.shared.download import download_button
from pages.shared.errors import plain_errors, sentence
from pages.shared.files import files_of, load
from pages.shared.frame import scroll_to
from pages.shared.language import N_, _, ngettext
from pages.shared.studio import the_studio
from pages.shared.text import esc, short
from studio import access
from studio.context import Submitter
from studio.file_names import file_name
from studio.limits import engines_that_vary, is_offered
from studio.refine import (
    Marked,
    mark,
    packed,
    refinement,
    row_of,
    set_up,
    upscale_marked,
    vary_marked,
)
from studio.rows import Row
from studio.rows import row as row_as_shown
from studio.sheets import cancel_all, is_live, still_theirs

LOOK_S = 3.0  # how often a page asks whether another device has changed something
SEEN = "refinement_version"
COUNTS = (2, 4, 6, 8)
# Skip rates from near to far; see generator.params.vary.
RATES = {
    0.9: N_("very near"),
    0.75: N_("near"),
    0.6: N_("rather near"),
    0.45: N_("between"),
    0.3: N_("rather far"),
    0.15: N_("far"),
    0.0: N_("very far"),
}


def show(refinement_id: str, visitor: Submitter) -> None:
    """The rows, or a sentence where there is no such refinement."""
    st.button(_("All refinements"), icon=":material/arrow_back:", type="tertiary", on_click=_close)
    try:
        found, rows = refinement(the_studio(), visitor, refinement_id)
    except UnknownRefinement as error:
        empty_state(_("No such refinement"), sentence(error))
        return
    st.session_state[SEEN] = found.version
    added = st.session_state.pop("row_added", False)
    st.html(f'<div class="t2i-prompt whole">{esc(short(found.prompt, 300))}</div>')
    for stage, everyone in rows:
        live = is_live(everyone)
        with st.container(key=f"stage_{stage.place}", gap="small"):
            st.fragment(_row, run_every=1.0 if live else None, key=f"row_{stage.submission.id}")(
                found, stage, visitor, live
            )
    st.fragment(_look, run_every=LOOK_S, key="look")(found.id)
    if added:
        newest = rows[-1][0]
        scroll_to(f"stage_{newest.place}", newest.submission.id)


def _close() -> None:
    st.query_params.pop("refinement", None)


def _look(refinement_id: str) -> None:
    with plain_errors():
        if refinements.get(the_studio().db, refinement_id).version != st.session_state.get(SEEN):
            st.rerun()


def _row(found: Refinement, stage: Stage, visitor: Submitter, live: bool) -> None:
    with plain_errors():
        if st.session_state.get("row_added"):
            st.rerun()
        everyone = row_of(the_studio(), found, stage)
        if is_live(everyone) != live:
            st.rerun()
        row = _as_drawn(found, stage, visitor, everyone)
        _heading(row)
        if live:
            executor_missing()
        with st.grid("auto", min_column_width=155, key=f"pictures_{stage.place}"):
            for number, member in enumerate(row.members, start=1):
                _tile(found, row, member.job, number)
        _next_step(found, row, visitor)
        _cancel(row, visitor)


def _as_drawn(found: Refinement, stage: Stage, visitor: Submitter, everyone: list[Member]) -> Row:
    files = files_of([member.job.id for member in everyone])
    return row_as_shown(the_studio(), visitor, found, stage, everyone, files, results.read)


def _tile(found: Refinement, row: Row, job: Job, number: int) -> None:
    files, marked = row.files[job.id], job.id in row.marks
    with st.container(key=f"tile_{job.id}"):
        data = load(files.get("thumbnail") or files.get("preview") or files.get("picture"))
        draw_picture(data, key=job.id, alt=job.prompt)
        _mark(found, job, number, marked)
        upscaled = row.pictures.get(job.id) if job.engine == "upscale" else None
        line = standing(job, row.places) if upscaled is None else f"{upscaled.width} × {upscaled.height} px"
        st.html(f'<div class="t2i-meta{" t2i-marked" if marked else ""}">{esc(line)}</div>')


def _heading(row: Row) -> None:
    sheet, layout = row.stage.submission, row.stage.submission.layout
    st.header(f"{row.stage.place}. {_(KINDS[sheet.kind])}", anchor=False)
    done = sum(member.job.state == State.SUCCEEDED for member in row.members)
    parts = [_("{done} of {total} done", done=done, total=len(row.members))]
    if "from" in layout:
        count = len(layout["parents"])
        parts.append(
            ngettext("from {n} marked in row {row}", "from {n} marked in row {row}", count, row=layout["from"])
        )
        if layout.get("skip_rate") in RATES:
            parts[-1] += f", {_(RATES[layout['skip_rate']])}"
    if row.rankings:
        newest = row.rankings[-1]
        ranked = newest.state == State.SUCCEEDED
        parts.append(_("best first") if ranked else _("ranking: {status}", status=job_card.status_line(newest)))
    st.html(f'<div class="t2i-meta" role="status">{esc(" · ".join(parts))}</div>')


def _mark(found: Refinement, job: Job, number: int, marked: bool) -> None:
    # Numbered, so that each has a name of its own for those who listen to the page.
    st.button(
        _("Marked {number}", number=number) if marked else _("Mark {number}", number=number),
        icon=":material/check_circle:" if marked else ":material/radio_button_unchecked:",
        key=f"mark_{job.id}",
        type="tertiary",
        width="stretch",
        disabled=job.state in (State.FAILED, State.CANCELLED),
        on_click=_set_mark,
        args=(found.id, job.id, not marked),
    )


def _next_step(found: Refinement, row: Row, visitor: Submitter) -> None:
    """What can be made of the marked pictures: the same for every row, so that one can go on from any."""
    stage, marked = row.stage, row.marked
    settings = refinements.settings_of(the_studio().db, stage.submission.id)
    sheet_id = stage.submission.id
    rate_key, count_key = f"rate_{sheet_id}", f"count_{sheet_id}"
    rate, count = settings.get("skip_rate"), settings.get("count")
    for key, value in (
        (rate_key, rate if rate in RATES else SKIP_RATE),
        (count_key, count if count in COUNTS else COUNT),
    ):
        # What another device has set; what was set here is in the database already.
        if st.session_state.get(key) != value:
            st.session_state[key] = value
    many = f" {len(marked)}" if len(marked) > 1 else ""
    varied, may_upscale = bool(engines_that_vary(the_studio())), is_offered(the_studio(), "upscale")
    with st.container(key=f"next_{stage.place}", gap="small"):
        if varied:
            _how_far_and_many(found, sheet_id, rate_key, count_key)
        with st.container(horizontal=True, gap="small"):
            if varied:
                st.button(
                    _("Vary") + many,
                    key=f"vary_{sheet_id}",
                    type="primary",
                    icon=":material/shuffle:",
                    disabled=not marked,
                    on_click=_vary,
                    args=(found, stage, marked, visitor),
                )
            if may_upscale:
                st.button(
                    _("Upscale") + many,
                    key=f"upscale_{sheet_id}",
                    icon=":material/zoom_out_map:",
                    disabled=not marked,
                    on_click=_upscale,
                    args=(found, stage, marked, visitor),
                )
            _download(stage, marked, many, visitor)
        if not marked and varied and may_upscale:
            st.caption(_("Tap the pictures you like; then vary, upscale or download them."))
        elif not marked:
            st.caption(_("Tap the pictures you like; then choose what becomes of them."))


def _how_far_and_many(found: Refinement, sheet_id: str, rate_key: str, count_key: str) -> None:
    slider, number = st.columns([3, 2], gap="medium")
    rates = {rate: _(name) for rate, name in RATES.items()}
    with slider:
        st.select_slider(
            _("Variations near or far from what is marked"),
            list(RATES),
            st.session_state[rate_key],
            key=rate_key,
            format_func=lambda rate: rates.get(rate, f"{rate:g}"),
            help=_("Skip rate: the share of the way that is skipped. Near keeps more of the picture."),
            on_change=_save,
            args=(found.id, sheet_id, "skip_rate", rate_key),
        )
    with number:
        st.segmented_control(
            _("How many"),
            COUNTS,
            default=st.session_state[count_key],
            key=count_key,
            required=True,
            on_change=_save,
            args=(found.id, sheet_id, "count", count_key),
        )


def _download(stage: Stage, marked: Marked, many: str, visitor: Submitter) -> None:
    job, one = marked[0] if len(marked) == 1 else (None, None)
    studio = the_studio()
    download_button(
        _("Download") + many,
        # Read when it is asked for.
        partial(access.file, studio, visitor, one) if one else partial(packed, studio, visitor, marked),
        file_name=file_name(job, one) if job and one else f"{stage.submission.id}.zip",
        mime=one.media_type if one else "application/zip",
        key=f"download_{stage.submission.id}",
        disabled=not marked,
    )


def _cancel(row: Row, visitor: Submitter) -> None:
    waiting = still_theirs(visitor, row.members)
    if waiting:
        key = f"cancel_{row.stage.submission.id}"
        st.button(_("Cancel the rest"), icon=":material/close:", key=key, on_click=_cancel_all, args=(waiting, visitor))


def _cancel_all(job_ids: list[str], visitor: Submitter) -> None:
    with plain_errors():
        cancel_all(the_studio(), visitor, job_ids)


def _changed_here(version: int) -> None:
    """Whoever has made a change need not be told of it; a gap means that another device has made one too."""
    if version == st.session_state.get(SEEN, 0) + 1:
        st.session_state[SEEN] = version


def _set_mark(refinement_id: str, job_id: str, marked: bool) -> None:
    with plain_errors():
        _changed_here(mark(the_studio(), refinement_id, job_id, marked))


def _save(refinement_id: str, sheet_id: str, name: str, key: str) -> None:
    with plain_errors():
        _changed_here(set_up(the_studio(), refinement_id, sheet_id, {name: st.session_state[key]}))


def _vary(found: Refinement, stage: Stage, marked: Marked, visitor: Submitter) -> None:
    settings = refinements.settings_of(the_studio().db, stage.submission.id)
    with plain_errors():
        vary_marked(
            the_studio(),
            visitor,
            found.id,
            stage,
            marked,
            count=settings.get("count", COUNT),
            skip_rate=settings.get("skip_rate", SKIP_RATE),
        )
        st.session_state["row_added"] = True


def _upscale(found: Refinement, stage: Stage, marked: Marked, visitor: Submitter) -> None:
    with plain_errors():
        upscale_marked(the_studio(), visitor, found.id, stage, marked)
        st.session_state["row_added"] = True
