"""What two pages share: the connection, the visitor, errors as sentences, and user text shown as plain text."""

from __future__ import annotations

import gc
import html
import importlib
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
import streamlit as st
from pydantic import ValidationError
from streamlit.navigation.page import StreamlitPage

from db import artefacts, engine, queue
from db.artefacts import Artefact, Store
from db.errors import DbError, UnknownArtefact, UnknownJob
from db.jobs import Job
from db.queue import workers
from db.rules import host_rules, visitors
from db.rules.host_rules import Rules
from generator import registry
from generator.checkpoints.inventory import wrong_default
from generator.params import BadParams
from generator.registry import UnknownName
from pages import _kept_files
from pages._language import N_, _, ngettext
from settings import Settings

_HERE = Path(__file__).resolve().parent
GENERATION = str(_HERE / "text_to_image_generation.py")
INFERENCES = str(_HERE / "previous_inferences.py")
VOTES = str(_HERE / "vote_images.py")
LEADERBOARD = str(_HERE / "leaderboard.py")
QUEUE = str(_HERE / "queue_page.py")
SHEETS = str(_HERE / "sheets.py")
COMPARE = str(_HERE / "compare.py")
MODELS = str(_HERE / "models.py")
HOST = str(_HERE / "host.py")
REFINE = str(_HERE / "refine.py")
WALL = str(_HERE / "wall.py")

KIOSK = "wall"  # the page without menu and title
COOKIE = "t2i_visitor"
PAUSED = N_("The host has paused the queue. What you ask for waits, and starts when it goes on.")
NO_EXECUTOR = N_("No executor is running. Start one: python job_executor.py")

_led_through = threading.Event()  # by webapp.py: the first run of this process was
_VISITOR = re.compile(r"[A-Za-z0-9_-]{16,64}")
_YEAR_S = 365 * 24 * 3600


@dataclass(frozen=True)
class Studio:
    """What every page needs: the configuration, the database and the artefact store."""

    settings: Settings
    db: sa.Engine
    store: Store


@st.cache_resource(show_spinner=False)
def studio() -> Studio:
    """One connection for all sessions of this process. Raises DatabaseUnavailable, DatabaseTooNew, StoreUnavailable."""
    settings = Settings()
    trouble = wrong_default(settings.default_engine, settings.default_checkpoint, settings.checkpoints_dir)
    if trouble is not None:
        logging.getLogger(__name__).warning(trouble)
    return Studio(settings, engine.connect(settings.database_url), Store(settings.store_url))


@contextmanager
def plain_errors() -> Iterator[None]:
    """What goes wrong in the block reaches the visitor as one sentence, and the page stays usable."""
    try:
        yield
    except (DbError, BadParams, UnknownName) as error:
        problem(str(error))
    except sa.exc.SQLAlchemyError:
        logging.getLogger(__name__).exception("a page could not be drawn")
        problem(_("The database cannot answer this page; the log of the web app says why."))
    except ValidationError as error:
        wrong = "; ".join(f"T2I_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        problem(f"The configuration cannot be read. {wrong}.")


def problem(sentence: str) -> None:
    """Show an error; whatever a visitor typed is in it as plain text."""
    st.error(label(sentence), icon=":material/error:")


def visitor() -> str:
    """The anonymous id of who looks at this page: from the cookie, or the address where cookies are refused."""
    known: str | None = st.session_state.get("visitor")
    if known is None:
        offered = (st.context.cookies.get(COOKIE), st.query_params.get("visitor"))
        known = next((v for v in offered if v and _VISITOR.fullmatch(v)), None) or secrets.token_urlsafe(16)
        st.session_state["visitor"] = known
    return known


def frame() -> None:
    """The style sheet, and the script that keeps the visitor's id in the browser for a year."""
    st.session_state["framed"] = True
    st.html(_HERE / "_theme.css")
    me = visitor()
    if st.context.cookies.get(COOKIE) == me:
        return
    # Where the browser refuses the cookie the id goes into the address, so that a reload still finds the jobs.
    script = f"""<script>(() => {{
        if (/(^|; ){COOKIE}=/.test(document.cookie)) return;
        const secure = location.protocol === "https:" ? "; Secure" : "";
        document.cookie = "{COOKIE}={me}; Max-Age={_YEAR_S}; Path=/; SameSite=Lax" + secure;
        if (document.cookie.includes("{COOKIE}=")) return;
        const url = new URL(location.href);
        url.searchParams.set("visitor", "{me}");
        history.replaceState(null, "", url);
    }})();</script>"""
    with st.container(key="visitor_script"):
        st.html(script, unsafe_allow_javascript=True)


def close_menu(page: str) -> None:
    """On a phone the menu lies over the page; once it has led to another, it goes."""
    with st.container(key="menu_script"):
        st.html(
            f"""<script>(() => {{
            const first = new URL(performance.getEntriesByType("navigation")[0].name).pathname.split("/").pop();
            const before = window.t2iPage ?? first;
            window.t2iPage = "{page}";
            if (before === "{page}" || !matchMedia("(max-width: 768px)").matches) return;
            document.querySelector(
            '[data-testid="stSidebar"][data-collapsed="false"] [data-testid="stSidebarCollapseButton"] button'
            )?.click();
            }})();</script>""",
            unsafe_allow_javascript=True,
        )


def navigation() -> StreamlitPage:
    """The menu of all pages; the page that the address names.

    Until `st.navigation` has been called once in this process, Streamlit takes the files of pages/ for pages of their
    own: an address that names one leads past webapp.py, and what the visitor set there is forgotten at the next click.
    So the first call starts over.
    """
    # No icons: the browser would fetch that of the open page from a font server, for its tab.
    page = st.navigation(
        [
            st.Page(GENERATION, title=_("Text-to-Image Generation"), default=True),
            st.Page(REFINE, title=_("Refine")),
            st.Page(COMPARE, title=_("Compare")),
            st.Page(SHEETS, title=_("Sheets")),
            st.Page(INFERENCES, title=_("Previous Inferences")),
            st.Page(VOTES, title=_("Vote Images")),
            st.Page(LEADERBOARD, title=_("Leaderboard")),
            st.Page(QUEUE, title=_("Queue")),
            st.Page(MODELS, title=_("Models")),
            *([st.Page(HOST, title=_("Host"))] if has_host() else []),
            st.Page(WALL, title=_("Wall"), visibility="hidden"),
        ],
        position="top",
    )
    if not _led_through.is_set():
        _led_through.set()
        _load_and_freeze()
        st.rerun()
    return page


def _load_and_freeze() -> None:
    """What any page needs is loaded now, and kept out of the garbage collector's rounds.

    They took 0.12 s after every run, for modules that live as long as the process: most of the time of most pages.
    How often they come is set in .streamlit/config.toml (postScriptGC).
    """
    for name in ("pandas", "pyarrow", *(f"pages.{path.stem}" for path in _HERE.glob("*.py"))):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def has_host() -> bool:
    """Whether there is a Host page: a password is set, or Streamlit's own login and whom to let in."""
    try:
        settings = _settings()
    except ValidationError:
        return False  # the page itself says what is wrong
    return bool(settings.host_password) or (bool(settings.host_emails.strip()) and login_is_set_up())


def _settings() -> Settings:
    """Those of the studio, read once; read anew where the database or the store cannot be opened."""
    try:
        return studio().settings
    except DbError:
        return Settings()


def login_is_set_up() -> bool:
    """Whether the secrets configure Streamlit's own login (OpenID Connect)."""
    try:
        return "auth" in st.secrets
    except FileNotFoundError:
        return False


def show(page: Callable[[], None]) -> None:
    """Draw a page inside the frame that webapp.py has drawn, and start over where there is none: see `navigation`."""
    if not st.session_state.pop("framed", False):
        navigation()
        st.rerun()
    page()


def go_to(path: str, **query: str) -> None:
    """From a callback: another page, as soon as the one on show is drawn again (see `go`)."""
    st.session_state["go_to"] = path, query


def go() -> None:
    """Leave for the page that a callback has named, if one has."""
    target = st.session_state.pop("go_to", None)
    if target is not None:
        st.switch_page(target[0], query_params=target[1])


def scroll_to(key: str, occasion: str) -> None:
    """On a phone, bring the container with this key into view, once per occasion."""
    with st.container(key="scroll_script"):
        st.html(
            f"""<script>/* {occasion} */ if (matchMedia("(max-width: 640px)").matches)
            document.querySelector(".st-key-{key}")?.scrollIntoView({{behavior: "smooth"}});</script>""",
            unsafe_allow_javascript=True,
        )


def esc(text: object) -> str:
    """Text for st.html: tags and quotes are inert."""
    return html.escape(str(text))


def label(text: str) -> str:
    """Text for a label or message, which Streamlit reads as Markdown: every mark is shown as it was typed."""
    escaped = re.sub(r"([\\\\`*_{}\[\]()#+.!|<>~$:&=^-])", r"\\\1", text.replace("\n", " "))
    # An invisible word joiner keeps :heart:, ->, addresses and the like from being replaced after the parsing.
    return re.sub(r"([:<>=@-]|www(?=\\\.))", "\\1\u2060", escaped, flags=re.IGNORECASE)


def short(text: str, length: int = 80) -> str:
    """The text, cut at a word where it is longer than `length` characters."""
    if len(text) <= length:
        return text
    return text[:length].rsplit(" ", 1)[0].rstrip(" ,.;:") + "…"


def quoted(text: str) -> str:
    """Text that stands inside a sentence: marks in it that turn the direction of writing end with it."""
    return f"\u2068{text}\u2069"


def duration(seconds: float) -> str:
    """About how long, in words: 8 s, 3 min, 2 h."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"{round(seconds / 3600)} h"
    return ngettext("{n} day", "{n} days", round(seconds / 86400))


def ago(at: float) -> str:
    """How long ago a time in UTC s was: just now, 3 min ago."""
    passed = time.time() - at
    return _("just now") if passed < 5 else _("{duration} ago", duration=duration(passed))


def forget_files() -> None:
    """Drop what this process remembers of files that are deleted, and of files made from them to take home."""
    _kept_files.files().clear()
    _kept_files.pictures().clear()
    st.cache_data.clear()


def load(artefact: Artefact | None) -> bytes | None:
    """The bytes of a small file, None where it is not there (yet, or any more)."""
    if artefact is None:
        return None
    store, key = studio().store, artefact.key
    try:
        if artefact.kind == "preview":
            return store.get(key)  # not kept: a second later there is another one
        return _kept_files.files().get((store.address, key, artefact.sha256), lambda: store.get(key))
    except UnknownArtefact:
        return None


def read_shown(job: Job, artefact: Artefact) -> bytes:
    """A file of a job when it is downloaded. Raises UnknownJob where the host has hidden it by then."""
    if queue.get(studio().db, job.id).hidden:
        raise UnknownJob(job.id)
    return studio().store.get(artefact.key)


def picture(data: bytes | None, *, key: str, alt: str, instead: str = "", side: int | None = None) -> None:
    """A square that never changes its size: the picture enlarged to fit, or a few words instead.

    side: in px; None: as wide as there is room.
    """
    with st.container(key=f"pic_{key}", width=side or "stretch"):
        if data is None:
            st.html(f'<div class="t2i-mat"><span>{esc(instead)}</span></div>')
        else:
            st.image(_kept_files.as_sent(data), alt=alt or _("Picture"), width="stretch")


def listed(kind: str, one_id: str, prompt: str, about: list[str], files: Mapping[str, Artefact]) -> None:
    """A line of a list of sheets or refinements; opened, its id is in the address as ?KIND=."""
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=f"row_{one_id}"):
        picture(load(files.get("thumbnail") or files.get("preview")), key=f"{kind}_{one_id}", alt=prompt, side=56)
        st.html(
            f'<div class="t2i-prompt">{esc(short(prompt))}</div>'
            f'<div class="t2i-meta">{" · ".join(esc(part) for part in about)}</div>'
        )
        st.button(
            _("Open"),
            icon=":material/arrow_forward:",
            key=f"open_{one_id}",
            on_click=st.query_params.update,
            args=({kind: one_id},),
        )


def makes(job: Job) -> str:
    """What a job leaves: "drawing", "picture" or "result"; see registry.EngineSpec."""
    spec = registry.ENGINES.get(job.engine)
    return spec.makes if spec else "drawing"


def engine_title(engine: str) -> str:
    """The engine's name for people; its own where this version of the studio does not know it."""
    spec = registry.ENGINES.get(engine)
    return spec.title if spec else engine


def house_rules() -> Rules:
    """What the host has set, as it is now."""
    return host_rules.get(studio().db)


def offered_engines() -> list[str]:
    """The engines that draw and that the host lets visitors see."""
    withheld = house_rules().withheld
    return [name for name in registry.drawing_engines() if name not in withheld]


def names_of(jobs: Iterable[Job]) -> dict[str, str]:
    """The names visitors have given themselves, by visitor; those without one are left out."""
    return visitors.names(studio().db, [job.submitter for job in jobs])


def files_of(job_ids: list[str]) -> dict[str, dict[str, Artefact]]:
    """The files of some jobs by job and kind."""
    return artefacts.of_jobs(studio().db, job_ids) if job_ids else {}


def paused_note() -> bool:
    """Say so where the host has paused the queue, and whether that is so."""
    paused = house_rules().paused
    if paused:
        st.info(_(PAUSED), icon=":material/pause_circle:")
    return paused


def executor_missing() -> bool:
    """Say so where nothing would run a job, or the host has paused the queue; whether nothing would."""
    paused_note()
    missing = not workers.live(studio().db)
    if missing:
        st.warning(_(NO_EXECUTOR), icon=":material/power_off:")
    return missing


def empty_state(title: str, text: str, *, page: str | None = None, link: str = "") -> None:
    """What to do where there is nothing to show."""
    with st.container(key="empty_state", horizontal_alignment="center"):
        st.html(f'<div class="t2i-empty"><strong>{esc(title)}</strong><p>{esc(text)}</p></div>')
        if page is not None:
            st.page_link(page, label=link, icon=":material/arrow_forward:")
