"""One refinement: its rows, each with its own marks and settings, drawn from the database on every device alike."""

from __future__ import annotations

import time
from functools import partial

import streamlit as st

from db import refinements, submissions
from db.artefacts import Artefact
from db.errors import DatabaseUnavailable, DbError, UnknownRefinement
from db.jobs import ENDED, LIVE, Job, State
from db.refinements import Refinement, Stage
from db.submissions import Member
from generator.params import BadParams
from pages import _stages
from pages._stages import COUNTS, DEFAULT_COUNT, DEFAULT_RATE, RATES
from pages._submit import rank
from pages.components import job_card
from pages.components.notices import empty_state, executor_missing
from pages.components.picture import draw_picture
from pages.components.sheet import KINDS, pictures_of, ranked_places, standing
from pages.shared.errors import plain_errors
from pages.shared.files import files_of, load, read_shown
from pages.shared.frame import scroll_to
from pages.shared.language import _, ngettext
from pages.shared.studio import house_rules, the_studio
from pages.shared.text import esc, short

LOOK_S = 3.0  # how often a page asks whether another device has changed something
SEEN = "refinement_version"


def show(refinement_id: str, visitor: str) -> None:
    """The rows, or a sentence where there is no such refinement."""
    st.button(_("All refinements"), icon=":material/arrow_back:", type="tertiary", on_click=_close)
    db = the_studio().db
    try:
        found = refinements.get(db, refinement_id)
        rows = [(stage, submissions.jobs_of(db, stage.submission.id)) for stage in refinements.stages_of(db, found.id)]
        if not any(pictures_of(everyone) for _, everyone in rows):
            raise UnknownRefinement(refinement_id)  # the host has hidden all of it, its prompt as well
    except UnknownRefinement as error:
        empty_state(_("No such refinement"), str(error))
        return
    st.session_state[SEEN] = found.version
    added = st.session_state.pop("row_added", False)
    st.html(f'<div class="t2i-prompt whole">{esc(short(found.prompt, 300))}</div>')
    for stage, everyone in rows:
        live = _is_live(everyone)
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


def _is_live(members: list[Member]) -> bool:
    return any(member.job.state in LIVE for member in members)


def _row(found: Refinement, stage: Stage, visitor: str, live: bool) -> None:
    with plain_errors():
        if st.session_state.get("row_added"):
            st.rerun()
        db, sheet = the_studio().db, stage.submission
        everyone = submissions.jobs_of(db, sheet.id)
        if _unranked(sheet.kind, everyone) and _rank(stage, everyone, found):
            everyone = submissions.jobs_of(db, sheet.id)
        if _is_live(everyone) != live:
            st.rerun()
        members = pictures_of(everyone)
        rankings = [m.job for m in everyone if m.cell is None and m.job.engine == "rank"]
        files = files_of([member.job.id for member in everyone])
        pictures = {m.job.id: files[m.job.id]["picture"] for m in members if m.job.state == State.SUCCEEDED}
        _heading(stage, members, rankings)
        if live:
            executor_missing()
        places = ranked_places(rankings, files)
        members.sort(key=lambda m: places.get(m.job.id, (len(members), 0.0))[0])
        marks = refinements.marks_of(db, found.id)
        with st.grid("auto", min_column_width=155, key=f"pictures_{stage.place}"):
            for number, member in enumerate(members, start=1):
                job = member.job
                with st.container(key=f"tile_{job.id}"):
                    kinds = ("thumbnail", "preview", "picture")
                    data = load(next((files[job.id][kind] for kind in kinds if kind in files[job.id]), None))
                    draw_picture(data, key=job.id, alt=job.prompt)
                    _mark(found, job, number, job.id in marks)
                    line = _size(pictures[job.id]) if job.engine == "upscale" and job.id in pictures else None
                    about = esc(line or standing(job, places))
                    st.html(f'<div class="t2i-meta{" t2i-marked" if job.id in marks else ""}">{about}</div>')
        marked = [(m.job, pictures[m.job.id]) for m in members if m.job.id in marks and m.job.id in pictures]
        _next_step(found, stage, marked, visitor)
        _cancel([m.job for m in members], visitor, stage)


def _unranked(kind: str, everyone: list[Member]) -> bool:
    if kind == "enlarged" or _is_live(everyone) or len(_done(everyone)) < 2:
        return False
    return submissions.to_be_tried([member.job for member in everyone if member.cell is None], time.time())


def _done(everyone: list[Member]) -> list[Member]:
    """The members with a finished picture that may be seen."""
    return [m for m in pictures_of(everyone) if m.job.state == State.SUCCEEDED]


def _rank(stage: Stage, everyone: list[Member], found: Refinement) -> bool:
    """Have the row ranked, once where nothing goes wrong; whether there was room in the queue."""
    files = files_of([member.job.id for member in _done(everyone)])
    pictures = [one["picture"].id for one in files.values() if "picture" in one]
    try:
        # In the name of who began: whoever looks first, it counts against the same visitor's queue.
        rank(the_studio(), stage.submission, pictures, found.submitter, prompt=found.prompt, clip=["mini"], once=True)
    except DatabaseUnavailable:
        raise
    except (DbError, BadParams):  # no room, a limit, a rule of the host's: the row is there all the same
        return False
    return True


def _heading(stage: Stage, members: list[Member], rankings: list[Job]) -> None:
    sheet, layout = stage.submission, stage.submission.layout
    st.header(f"{stage.place}. {_(KINDS[sheet.kind])}", anchor=False)
    done = sum(member.job.state == State.SUCCEEDED for member in members)
    parts = [_("{done} of {total} done", done=done, total=len(members))]
    if "from" in layout:
        count = len(layout["parents"])
        parts.append(
            ngettext("from {n} marked in row {row}", "from {n} marked in row {row}", count, row=layout["from"])
        )
        if layout.get("skip_rate") in RATES:
            parts[-1] += f", {_(RATES[layout['skip_rate']])}"
    if rankings:
        newest = rankings[-1]
        ranked = newest.state == State.SUCCEEDED
        parts.append(_("best first") if ranked else _("ranking: {status}", status=job_card.status_line(newest)))
    st.html(f'<div class="t2i-meta" role="status">{esc(" · ".join(parts))}</div>')


def _size(picture: Artefact) -> str:
    return f"{picture.width} × {picture.height} px"


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


def _next_step(found: Refinement, stage: Stage, marked: _stages.Marked, visitor: str) -> None:
    """What can be made of the marked pictures: the same for every row, so that one can go on from any."""
    settings = refinements.settings_of(the_studio().db, stage.submission.id)
    sheet_id = stage.submission.id
    rate_key, count_key = f"rate_{sheet_id}", f"count_{sheet_id}"
    rate, count = settings.get("skip_rate"), settings.get("count")
    for key, value in (
        (rate_key, rate if rate in RATES else DEFAULT_RATE),
        (count_key, count if count in COUNTS else DEFAULT_COUNT),
    ):
        # What another device has set; what was set here is in the database already.
        if st.session_state.get(key) != value:
            st.session_state[key] = value
    many = f" {len(marked)}" if len(marked) > 1 else ""
    varied, enlarged = bool(_stages.engines_that_vary()), "upscale" not in house_rules().withheld
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
            if enlarged:
                st.button(
                    _("Upscale") + many,
                    key=f"upscale_{sheet_id}",
                    icon=":material/zoom_out_map:",
                    disabled=not marked,
                    on_click=_enlarge,
                    args=(found, stage, marked, visitor),
                )
            _download(stage, marked, many)
        if not marked and varied and enlarged:
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


def _download(stage: Stage, marked: _stages.Marked, many: str) -> None:
    one = marked[0][1] if len(marked) == 1 else None
    studio = the_studio()
    st.download_button(
        _("Download") + many,
        # Read when it is asked for.
        partial(read_shown, *marked[0]) if one else partial(_stages.packed, studio, marked),
        file_name=f"{one.job_id}.{one.key.rsplit('.', 1)[-1]}" if one else f"{stage.submission.id}.zip",
        mime=one.media_type if one else "application/zip",
        key=f"download_{stage.submission.id}",
        icon=":material/download:",
        disabled=not marked,
        on_click="ignore",
    )


def _cancel(members: list[Job], visitor: str, stage: Stage) -> None:
    waiting = [job.id for job in members if job.state not in ENDED and job.submitter == visitor]
    if waiting:
        key = f"cancel_{stage.submission.id}"
        st.button(_("Cancel the rest"), icon=":material/close:", key=key, on_click=_cancel_all, args=(waiting, visitor))


def _cancel_all(job_ids: list[str], visitor: str) -> None:
    for job_id in job_ids:
        job_card.cancel(job_id, visitor)


def _changed_here(version: int) -> None:
    """Whoever has made a change need not be told of it; a gap means that another device has made one too."""
    if version == st.session_state.get(SEEN, 0) + 1:
        st.session_state[SEEN] = version


def _set_mark(refinement_id: str, job_id: str, marked: bool) -> None:
    with plain_errors():
        _changed_here(refinements.mark(the_studio().db, refinement_id, job_id, marked))


def _save(refinement_id: str, sheet_id: str, name: str, key: str) -> None:
    with plain_errors():
        _changed_here(refinements.set_up(the_studio().db, refinement_id, sheet_id, **{name: st.session_state[key]}))


def _vary(found: Refinement, stage: Stage, marked: _stages.Marked, visitor: str) -> None:
    settings = refinements.settings_of(the_studio().db, stage.submission.id)
    with plain_errors():
        _stages.vary_marked(
            the_studio(),
            found.id,
            stage,
            marked,
            visitor,
            count=settings.get("count", DEFAULT_COUNT),
            skip_rate=settings.get("skip_rate", DEFAULT_RATE),
        )
        st.session_state["row_added"] = True


def _enlarge(found: Refinement, stage: Stage, marked: _stages.Marked, visitor: str) -> None:
    with plain_errors():
        _stages.enlarge_marked(the_studio(), found.id, stage, marked, visitor)
        st.session_state["row_added"] = True
