"""One sheet: the pictures that were asked for together, with scores and times, ranked where somebody asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import streamlit as st

from db.artefacts import Artefact
from db.errors import UnknownSubmission
from db.jobs import Job, State
from db.sheets.submissions import Member, Submission
from generator import registry
from pages.components import job_card, results
from pages.components.notices import empty_state, executor_missing
from pages.components.picture import draw_picture
from pages.shared.errors import plain_errors
from pages.shared.files import files_of, load
from pages.shared.language import N_, _, number
from pages.shared.navigation import go, look_at
from pages.shared.studio import the_studio
from pages.shared.text import duration, esc, label, short
from pages.shared.visitor import names_of
from studio import sheets
from studio.access import may_see
from studio.context import Submitter
from studio.limits import is_offered
from studio.rank import rank
from studio.standing import Files, Places, Score, Seconds, ranked_places, rankings_of
from studio.standing import standing as standing_of

KINDS = {
    "candidates": N_("Candidates"),
    "variations": N_("Variations"),
    "compare": N_("Comparison"),
    "enlarged": N_("Upscaled"),
}


def show(sheet_id: str, visitor: Submitter) -> None:
    """The sheet, or a sentence where there is none."""
    st.button(_("All sheets"), icon=":material/arrow_back:", type="tertiary", on_click=_close)
    try:
        sheet, everyone = sheets.sheet(the_studio(), visitor, sheet_id)
    except UnknownSubmission as error:
        empty_state(_("No such sheet"), str(error))
        return
    live = sheets.is_live(everyone)
    st.fragment(_body, run_every=1.0 if live else None)(sheet, visitor, live)


def _close() -> None:
    st.query_params.pop("sheet", None)


def _body(sheet: Submission, visitor: Submitter, live: bool) -> None:
    with plain_errors():
        go()
        try:
            _sheet, everyone = sheets.sheet(the_studio(), visitor, sheet.id)
        except UnknownSubmission:  # hidden since the page was drawn
            st.rerun()
        if sheets.is_live(everyone) != live:
            st.rerun()
        members = sheets.pictures_of(visitor, everyone)
        rankings = [m.job for m in rankings_of(everyone) if may_see(visitor, m.job)]
        files = files_of([member.job.id for member in everyone])
        places = ranked_places(rankings, files, results.read)
        st.html(f'<div class="t2i-prompt whole">{esc(sheet.prompt)}</div>')
        done = sum(member.job.state == State.SUCCEEDED for member in members)
        name = names_of([members[0].job]).get(sheet.submitter)
        stands = [_(KINDS[sheet.kind]), _("{done} of {total} done", done=done, total=len(members))]
        stands += [_("by {name}", name=name)] if name else []
        st.html(f'<div class="t2i-meta" role="status">{esc(" · ".join(stands))}</div>')
        if live:
            executor_missing()
        _actions(sheet, members, rankings, files, places, visitor)
        if places and sheet.kind != "compare":
            members = sorted(members, key=lambda member: places.get(member.job.id, (len(members), 0.0))[0])
        _tiles(sheet, members, files, places)


def _actions(
    sheet: Submission,
    members: list[Member],
    rankings: list[Job],
    files: Files,
    places: Places,
    visitor: Submitter,
) -> None:
    pictures = [files[m.job.id]["picture"].id for m in members if "picture" in files[m.job.id]]
    drawn = [m.job.id for m in members if m.job.state == State.SUCCEEDED and "picture" in files[m.job.id]]
    finished = [files[job_id]["picture"].id for job_id in drawn]
    with st.container(horizontal=True, gap="small"):
        no_rank = len(finished) < 2 or not is_offered(the_studio(), "rank")
        with st.popover(_("Rank"), icon=":material/leaderboard:", disabled=no_rank):
            prompt = st.text_input(_("Prompt"), value=sheet.prompt, key=f"rank_prompt_{sheet.id}")
            clip = st.multiselect(
                _("CLIP models that judge"),
                list(registry.CLIP_MODELS),
                default=[registry.TEXT_ENCODER.name],
                max_selections=4,
                key=f"rank_clip_{sheet.id}",
            )
            st.button(
                _("Rank"),
                key=f"rank_{sheet.id}",
                on_click=_rank,
                args=(sheet, finished, visitor, prompt, clip),
            )
        # Written now: when the file is asked for, there is no page that has a language.
        lines = {member.job.id: standing(member.job, places) for member in members}
        if pictures:
            st.download_button(
                _("Sheet as PNG"),
                partial(sheets.as_png, the_studio(), visitor, sheet.id, lines),
                file_name=f"{sheet.id}.png",
                mime="image/png",
                key="download_sheet",
                icon=":material/download:",
                on_click="ignore",
            )
        films = {m.job.id: lines[m.job.id] for m in members if "gif" in files[m.job.id]}
        if len(films) > 1:
            st.download_button(
                _("Films as one GIF"),
                partial(sheets.as_film, the_studio(), visitor, sheet.id, films),
                file_name=f"{sheet.id}.gif",
                mime="image/gif",
                key="download_films",
                icon=":material/animation:",
                on_click="ignore",
            )
        waiting = sheets.still_theirs(visitor, members)
        if waiting:
            st.button(_("Cancel the rest"), icon=":material/close:", on_click=_cancel, args=(waiting, visitor))
    if rankings:
        newest = rankings[-1]
        by = " + ".join(newest.params["clip"])
        done = newest.state == State.SUCCEEDED
        st.caption(
            label(
                _("Ranked by {models} for: {prompt}", models=by, prompt=newest.prompt)
                if done
                else _("Ranking: {status}", status=job_card.status_line(newest))
            )
        )


def _rank(sheet: Submission, pictures: list[str], visitor: Submitter, prompt: str, clip: list[str]) -> None:
    with plain_errors():
        rank(the_studio(), visitor, sheet, pictures, prompt=prompt, clip=clip)


def _cancel(job_ids: list[str], visitor: Submitter) -> None:
    with plain_errors():
        sheets.cancel_all(the_studio(), visitor, job_ids)


def _tiles(sheet: Submission, members: list[Member], files: Files, places: Places) -> None:
    rows, beside = sheet.layout.get("rows"), [member.job.id for member in members]
    if sheet.kind != "compare" or rows is None:
        with st.grid("auto", min_column_width=155, key="sheet"):
            for member in members:
                _tile(member, files[member.job.id], places, beside)
        return
    across = sheets.columns_of(sheet, len(members))
    for row, value in enumerate(rows["values"]):
        st.html(f'<div class="t2i-meta">{esc(rows["name"])} {esc(value)}</div>')
        with st.container(key=f"matrix_{row}"):
            here = [member for member in members if member.cell is not None and member.cell // across == row]
            for member, cell in zip(here, st.columns(across, gap="small", wrap=False), strict=False):
                with cell:
                    _tile(member, files[member.job.id], places, beside)


def _tile(member: Member, files: Mapping[str, Artefact], places: Places, beside: list[str]) -> None:
    job = member.job
    with st.container(key=f"tile_{job.id}"):
        data = load(files.get("thumbnail") or files.get("preview") or files.get("picture"))
        draw_picture(data, key=job.id, alt=f"{member.label}: {job.prompt}", instead=standing(job, places))
        st.button(
            label(member.label or short(job.prompt)),
            key=f"open_{job.id}",
            type="tertiary",
            width="stretch",
            on_click=look_at,
            args=(job.id, beside),
            kwargs={"finished": job.state == State.SUCCEEDED and "picture" in files},
        )
        st.html(f'<div class="t2i-meta">{esc(standing(job, places))}</div>')


def standing(job: Job, places: Places) -> str:
    """Place, score and time of a picture, or how far it is, in the visitor's language."""
    pieces = standing_of(job, places)
    return " · ".join(_(sentence, **{name: _shown(value) for name, value in vs.items()}) for sentence, vs in pieces)


def _shown(value: object) -> object:
    if isinstance(value, Score):
        return number(value.value, ".3f")
    return duration(value.value) if isinstance(value, Seconds) else value
