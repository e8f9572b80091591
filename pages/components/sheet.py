"""One sheet: the pictures that were asked for together, with scores and times, ranked where somebody asked for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import streamlit as st

from db.artefacts import Artefact
from db.errors import UnknownSubmission
from db.jobs import Job, State
from db.sheets.submissions import Member, Submission
from generator import registry
from pages.components import job_card, results
from pages.components.notices import empty_state, executor_missing
from pages.components.picture import draw_picture
from pages.shared.address import for_visitors
from pages.shared.download import download_button
from pages.shared.errors import plain_errors, sentence
from pages.shared.files import files_of, load
from pages.shared.language import N_, _, language, number
from pages.shared.navigation import INFERENCES, SHEETS, go, look_at
from pages.shared.studio import the_settings, the_studio
from pages.shared.text import duration, esc, label, short
from pages.shared.visitor import names_of
from studio import sheets
from studio.access import may_see
from studio.context import Studio, Submitter
from studio.grid import Grid, grid_of
from studio.limits import is_offered
from studio.rank import rank
from studio.settings_form import clips
from studio.sheet_page import Words
from studio.standing import TIMES, Files, Places, Score, Seconds, best_of, ranked_places, rankings_of
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
        empty_state(_("No such sheet"), sentence(error))
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
        best = best_of(members, places) if sheet.kind == "compare" else None
        done = sum(member.job.state == State.SUCCEEDED for member in members)
        name = names_of([members[0].job]).get(sheet.submitter)
        stands = [_(KINDS[sheet.kind]), _("{done} of {total} done", done=done, total=len(members))]
        stands += [_("by {name}", name=name)] if name else []
        about = " · ".join(stands)
        with st.container(horizontal=True, vertical_alignment="center", key="sheet_head"):
            with st.container(key="sheet_title"):
                st.html(f'<div class="t2i-prompt whole">{esc(sheet.prompt)}</div>')
                st.html(f'<div class="t2i-meta" role="status">{esc(about)}</div>')
            _actions(sheet, members, files, places, visitor, best, about)
        if live:
            executor_missing()
        if rankings:
            _newest(rankings[-1])
        if places and sheet.kind != "compare":
            members = sorted(members, key=lambda member: places.get(member.job.id, (len(members), 0.0))[0])
        grid, beside = grid_of(sheet), [member.job.id for member in members]
        if grid is None:
            with st.grid("auto", min_column_width=155, key="sheet"):
                for member in members:
                    _tile(member, files[member.job.id], places, beside)
        else:
            _grid(grid, members, files, places, best)
        if done:
            st.caption(_about(best is not None and not places, in_grid=grid is not None))


def _actions(
    sheet: Submission,
    members: list[Member],
    files: Files,
    places: Places,
    visitor: Submitter,
    best: str | None,
    about: str,
) -> None:
    pictures = [files[m.job.id]["picture"].id for m in members if "picture" in files[m.job.id]]
    drawn = [m.job.id for m in members if m.job.state == State.SUCCEEDED and "picture" in files[m.job.id]]
    finished = [files[job_id]["picture"].id for job_id in drawn]
    with st.container(horizontal=True, gap="small", width="content"):
        no_rank = len(finished) < 2 or not is_offered(the_studio(), "rank")
        with st.popover(_("Rank"), icon=":material/leaderboard:", disabled=no_rank):
            prompt = st.text_input(_("Prompt"), value=sheet.prompt, key=f"rank_prompt_{sheet.id}")
            clip = st.multiselect(
                _("CLIP models that judge"),
                clips(the_studio()),
                default=list(registry.RANKING),
                max_selections=4,
                key=f"rank_clip_{sheet.id}",
            )
            st.button(
                _("Rank"),
                key=f"rank_{sheet.id}",
                on_click=_rank,
                args=(sheet, finished, visitor, prompt, clip),
            )
        # Written now: when a file is asked for, there is no page that has a language.
        lines = {member.job.id: standing(member.job, places, best=member.job.id == best) for member in members}
        if pictures:
            with st.popover(_("Download"), icon=":material/download:"):
                _downloads(sheet, visitor, lines, best, about)
                films = {m.job.id: lines[m.job.id] for m in members if "gif" in files[m.job.id]}
                if len(films) > 1:
                    made = partial(sheets.as_film, the_studio(), visitor, sheet.id, films, best=best)
                    _download(_("Films as one GIF"), made, sheet.id, "gif", "image/gif", "animation")
        waiting = sheets.still_theirs(visitor, members)
        if waiting:
            st.button(_("Cancel the rest"), icon=":material/close:", on_click=_cancel, args=(waiting, visitor))


def _newest(ranking: Job) -> None:
    """What was asked of the newest ranking, and how far it is."""
    by = " + ".join(ranking.params["clip"])
    done = ranking.state == State.SUCCEEDED
    st.caption(
        label(
            _("Ranked by {models} for: {prompt}", models=by, prompt=ranking.prompt)
            if done
            else _("Ranking: {status}", status=job_card.status_line(ranking))
        )
    )


def _downloads(sheet: Submission, visitor: Submitter, lines: Mapping[str, str], best: str | None, about: str) -> None:
    """The sheet as files of several kinds. about: what stands under its title in those that have words."""
    of: tuple[Studio, Submitter, str] = the_studio(), visitor, sheet.id
    words = Words(about, _about(best is not None, in_grid=False), language())
    page = Path(INFERENCES).stem
    root = for_visitors(st.context.url, the_settings().public_url, Path(SHEETS).stem) or ""
    as_page = partial(sheets.as_html, *of, lines, words, best=best)
    as_table = partial(sheets.as_csv, *of, lambda job_id: f"{root.rstrip('/')}/{page}?job={job_id}")
    _download(_("Sheet as PNG"), partial(sheets.as_png, *of, lines, best=best), sheet.id, "png", "image/png", "image")
    _download(_("Page as HTML"), as_page, sheet.id, "html", "text/html", "web")
    _download(_("Table as CSV"), as_table, sheet.id, "csv", "text/csv", "table")


def _download(title: str, made: Callable[[], bytes], sheet_id: str, ext: str, media_type: str, icon: str) -> None:
    download_button(
        title,
        made,
        file_name=f"{sheet_id}.{ext}",
        mime=media_type,
        key=f"download_sheet_{ext}",
        icon=f":material/{icon}:",
        type="tertiary",
    )


def _about(by_score: bool, *, in_grid: bool) -> str:
    """What the figures under the pictures are. by_score: whether one is marked for its score; in_grid: no words say it
    there."""
    marked = _("Best has the highest score. Each engine looks at its pictures in its own way; Rank judges all alike.")
    told = [_("Under each picture: score and time.") if in_grid else "", _(TIMES), marked if by_score else ""]
    return " ".join(sentence for sentence in told if sentence)


def _rank(sheet: Submission, pictures: list[str], visitor: Submitter, prompt: str, clip: list[str]) -> None:
    with plain_errors():
        rank(the_studio(), visitor, sheet, pictures, prompt=prompt, clip=clip)


def _cancel(job_ids: list[str], visitor: Submitter) -> None:
    with plain_errors():
        sheets.cancel_all(the_studio(), visitor, job_ids)


def _grid(grid: Grid, members: list[Member], files: Files, places: Places, best: str | None) -> None:
    """A comparison as a table: the labels once at the top and once at the left, where they stay while it is moved."""
    there, beside = {member.cell: member for member in members}, [member.job.id for member in members]
    across, down = len(grid.columns), len(grid.rows)
    letters = max(len(text) for text in (*grid.rows, f"{grid.row_setting} ↓", f"{grid.column_setting} →"))
    st.html(f"<style>.st-key-matrix {{ --across: {across}; --down: {down}; --letters: {letters}; }}</style>")
    with st.container(key="matrix_frame"), st.container(key="matrix"):
        columns = f'<span class="t2i-axis">{esc(grid.column_setting)} →</span>' if grid.column_setting else ""
        st.html(f'<div class="t2i-corner">{columns}<span class="t2i-axis">{esc(grid.row_setting)} ↓</span></div>')
        for value in grid.columns:
            st.html(f'<div class="t2i-column"><span title="{esc(value)}">{esc(value)}</span></div>')
        for row, value in enumerate(grid.rows):
            st.html(f'<div class="t2i-row"><span title="{esc(value)}">{esc(value)}</span></div>')
            for cell in range(row * across, (row + 1) * across):
                member = there.get(cell)
                if member is None:
                    st.html('<div class="t2i-nothing"></div>')
                else:
                    _tile(member, files[member.job.id], places, beside, best=member.job.id == best, in_grid=True)


def _tile(
    member: Member,
    files: Mapping[str, Artefact],
    places: Places,
    beside: list[str],
    *,
    best: bool = False,
    in_grid: bool = False,
) -> None:
    """in_grid: its label is for those who listen to the page; the others see it on the axes."""
    job = member.job
    with st.container(key=f"tile_{job.id}"):
        data = load(files.get("thumbnail") or files.get("preview") or files.get("picture"))
        told = standing(job, places, best=best, short=in_grid)
        draw_picture(data, key=job.id, alt=f"{member.label}: {job.prompt}", instead=told)
        st.button(
            label(member.label or short(job.prompt)),
            key=f"open_{job.id}",
            type="tertiary",
            width="stretch",
            on_click=look_at,
            args=(job.id, beside),
            kwargs={"finished": job.state == State.SUCCEEDED and "picture" in files},
        )
        marked = " t2i-best" if best else ""
        st.html(f'<div class="t2i-meta{marked}">{esc("" if data is None else told)}</div>')


def standing(job: Job, places: Places, *, best: bool = False, short: bool = False) -> str:
    """Place, score and time of a picture, or how far it is, in the visitor's language. short: the score without its
    name."""
    told = []
    for words, values in standing_of(job, places, best=best):
        shown = {name: _shown(value) for name, value in values.items()}
        told.append(str(shown["score"]) if short and "score" in shown else _(words, **shown))
    return " · ".join(told)


def _shown(value: object) -> object:
    if isinstance(value, Score):
        return number(value.value, ".3f")
    return duration(value.value) if isinstance(value, Seconds) else value
