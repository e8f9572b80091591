"""Wall: for the projector. Running, newest and best-voted pictures, the way in for phones, and nothing to press."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from db import queue
from db.artefacts import Artefact
from db.evening import wall
from db.jobs import Job, State
from db.queue import workers
from db.votes import Tally
from generator import registry
from pages.components import job_card
from pages.components.picture import draw_picture
from pages.hosting.sign_in import the_host
from pages.ratings import standings
from pages.shared.address import for_visitors, is_for_itself, qr_code, with_code
from pages.shared.errors import plain_errors
from pages.shared.files import files_of, load
from pages.shared.language import _
from pages.shared.navigation import KIOSK, show
from pages.shared.studio import house_rules, the_settings, the_studio
from pages.shared.text import duration, esc, short
from pages.shared.visitor import the_visitor
from studio.access import may_see
from studio.admission import link_code, needs_code
from studio.engines import engine_title
from studio.limits import code_asked_for

_HERE = Path(__file__).resolve().parent
SHAPES = ((1, 1), (2, 1), (3, 2), (4, 2), (5, 3))  # columns and rows, the smallest that holds all pictures
MAX_PICTURES = 15
MAX_RUNNING = 5
MAX_VOTED = 5
MAX_BYTES = 600_000  # larger pictures are shown by their thumbnails
# No sign of the server for this long, in s and in refreshes: the page is loaded again as soon as the server answers.
SILENT_S, SILENT_REFRESHES = 4.0, 5
FRESH_S = 1800.0  # loaded again this often in any case: browsers keep something of every picture that was there


def page() -> None:
    """Refreshes by itself, and comes back by itself when the server was away."""
    st.html(_HERE / "shared" / "wall.css")
    refresh_s = the_settings().wall_refresh_s
    with st.container(key="wall_script"):
        st.html(_watch(max(SILENT_S, SILENT_REFRESHES * refresh_s)), unsafe_allow_javascript=True)
    opened, public = st.context.url, the_settings().public_url
    alone = is_for_itself(opened, public, st.get_option("server.address"))
    address = None if alone else for_visitors(opened, public, KIOSK)
    st.fragment(_wall, run_every=refresh_s)(address, alone)


def _watch(silent_s: float) -> str:
    """Reloads the page when it has been open for long, or when the beat that every refresh draws has stopped; but only
    while the server answers, since a browser's own page of errors would stay."""
    return f"""<script>(() => {{
        if (window.t2iWall) return;
        let beat = null, heard = Date.now();
        const opened = Date.now();
        window.t2iWall = setInterval(async () => {{
            const path = location.pathname.replace(/\\/$/, "");
            const now = document.querySelector("[data-beat]")?.dataset.beat ?? null;
            if (!path.endsWith("/{KIOSK}")) return;
            if (now !== beat) {{ beat = now; heard = Date.now(); }}
            const silent = Date.now() - heard, open = Date.now() - opened;
            if (silent < {1000 * silent_s:.0f} && open < {1000 * FRESH_S:.0f}) return;
            try {{
                const health = path.replace(/{KIOSK}$/, "_stcore/health");
                if ((await fetch(health, {{cache: "no-store"}})).ok) location.reload();
            }} catch {{ /* the server is still away */ }}
        }}, 2000);
    }})();</script>"""


def _wall(address: str | None, alone: bool) -> None:
    # Drawn first: the page is alive even where the database is not.
    with st.container(key="wall_beat"):
        st.html(f'<div data-beat="{time.time():.1f}"></div>')
    with plain_errors():
        shown, tallies, running = _shown()
        shape = next(shape for shape in SHAPES if shape[0] * shape[1] >= len(shown))
        places = arrange(st.session_state.get("wall", []), list(shown), shape[0] * shape[1])
        st.session_state["wall"] = places
        files = files_of(list(shown))
        with st.container(key="wall", gap=None):
            with st.container(key="wall_grid_{}x{}".format(*shape), gap=None):
                if not shown:
                    invitation = _("Your picture could be the first one here.")
                    st.html(f'<div class="t2i-invitation">{esc(invitation)}</div>')
                for number, job_id in enumerate(places):
                    with st.container(key=f"wall_{number}", gap=None):
                        if job_id is not None:
                            _tile(shown[job_id], files[job_id], number, tallies.get(job_id))
            with st.container(key="wall_side", gap=None):
                _side(address, alone, running)


def _shown() -> tuple[dict[str, Job], dict[str, Tally], int]:
    """The jobs to show by id, the most important first; the votes of those that did well; how many are running."""
    db, engines, visitor = the_studio().db, registry.drawing_engines(), the_visitor()
    running = [job for job in queue.running_jobs(db) if may_see(visitor, job) and job.engine in engines]
    best, newest = standings.best_and_newest(visitor, best=MAX_VOTED, newest=MAX_PICTURES)
    jobs = {job.id: job for job in [*running[:MAX_RUNNING], *(job for job, _ in best), *newest]}
    return dict(list(jobs.items())[:MAX_PICTURES]), {job.id: tally for job, tally in best}, len(running)


def arrange(before: Sequence[str | None], wanted: Sequence[str], places: int) -> list[str | None]:
    """Which picture stands where: what stays keeps its place, what is new takes a free one, so that nothing jumps."""
    now: list[str | None] = [job_id if job_id in wanted else None for job_id in before[:places]]
    now += [None] * (places - len(now))
    new = iter(job_id for job_id in wanted if job_id not in now)
    return [next(new, None) if job_id is None else job_id for job_id in now]


def _tile(job: Job, files: dict[str, Artefact], number: int, tally: Tally | None) -> None:
    draw_picture(_data(job, files), key=f"wall_{number}", alt=job.prompt, instead=_("Forming"))
    meta = [engine_title(job.engine)]
    if job.state == State.RUNNING:
        meta.append(_("step {step} of {total}", step=job.step, total=job.total_steps))
    elif tally is not None:
        meta.append(
            _("preferred {wins} of {total} times", wins=tally.wins, total=tally.wins + tally.losses + tally.ties)
        )
    st.html(
        f'<div class="t2i-prompt"><bdi>{esc(short(job.prompt, 90))}</bdi></div>'
        f'<div class="t2i-meta">{esc(" · ".join(meta))}</div>{job_card.bar(job.step / job.total_steps, job)}'
    )


def _data(job: Job, files: dict[str, Artefact]) -> bytes | None:
    if job.state == State.RUNNING:
        return load(files.get("preview"))
    picture = files.get("picture")
    if picture is None or picture.size > MAX_BYTES:
        picture = files.get("thumbnail")
    return load(picture)


def _side(address: str | None, alone: bool, running: int) -> None:
    waiting, wait = wall.line(the_studio().db)
    if house_rules().paused:
        state = _("The host has paused the queue: what is asked for waits.")
    elif not workers.live(the_studio().db):
        state = _("No executor is running; what is asked for waits.")
    elif not waiting:
        state = _("Nothing waits: a new picture starts at once.") if running < 1 else _("Nothing waits.")
    elif wait is None:
        state = _("The next ones start when an executor is free.")
    else:
        state = _("The last of them starts in about {duration}.", duration=duration(wait))
    # Everybody can open this page: the code is for a wall that was opened with it, or by the host.
    code = None if needs_code(the_studio(), the_host()) else code_asked_for(the_studio())
    if alone:
        st.html(f'<div class="t2i-invite">{esc(_("Only this machine can open the studio."))}</div>')
        st.html(f'<div class="t2i-meta">{esc(_("For phones to find it, start it with --host 0.0.0.0."))}</div>')
    if address is not None:
        invited = address if code is None else with_code(address, link_code(the_studio()))
        seen = _("QR code of {address}", address=address)
        st.html(
            f'<div class="t2i-invite">{esc(_("Scan, write what you want to see, watch it form here."))}</div>'
            f'<img class="t2i-qr" alt="{esc(seen)}" src="{esc(qr_code(invited))}">'
            f'<div class="t2i-address">{esc(address.removeprefix("http://").rstrip("/"))}</div>'
        )
        if code is not None:
            st.html(f'<div class="t2i-code">{esc(_("Code"))} <b>{esc(code)}</b></div>')
    st.html(
        f'<div class="t2i-line" role="status"><span><b>{running}</b> {esc(_("forming"))}</span> '
        f"<span><b>{waiting}</b> {esc(_('waiting'))}</span></div>"
        f'<div class="t2i-meta">{esc(state)}</div>'
    )


if __name__ == "__main__":
    show(page)
