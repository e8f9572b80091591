"""What the gallery shows, and in which order: the address alone says it, to be passed on and gone back to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from db.boards import FAVOURITES
from db.errors import UnknownJob
from db.jobs import LIVE, State
from generator import registry
from generator.params import params_class
from pages.components import collecting
from pages.shared.language import N_, _
from pages.shared.studio import the_settings, the_studio
from pages.shared.text import label, quoted, short
from studio import access, gallery
from studio.context import Submitter
from studio.engines import engine_title, engines_making
from studio.gallery import ORDERS, Look
from studio.search import Query
from studio.uploads import TYPES

STATUSES: dict[str, tuple[State, ...] | None] = {
    "finished": (State.SUCCEEDED,),
    "live": LIVE,
    "failed": (State.FAILED,),
    "cancelled": (State.CANCELLED,),
    "all": None,
}
_STATUS = {
    **{"finished": N_("Finished"), "live": N_("In progress"), "failed": N_("Failed")},
    **{"cancelled": N_("Cancelled"), "all": N_("All")},
}
_ORDER = {"newest": N_("Newest"), "best": N_("Best voted"), "score": N_("CLIP score")}
_WHOSE = {"all": N_("Everybody's"), "mine": N_("Mine"), "favourites": N_("Favourites")}
_NARROWING = ("engine", "style", "status", "from", "to", "setting", "value")  # that are folded away
_PAGE = ("page", "since")  # where in it one is
_PICTURES = "gallery_pictures"  # how many pictures were given to be searched for
_IN = {"prompt": N_("Prompts"), "meaning": N_("What they show")}
_SEARCHED = {"prompt": N_("Words of a prompt"), "meaning": N_("What the picture shows: a round red thing")}


def asked_for(visitor: Submitter) -> tuple[Look, DeltaGenerator]:
    """Draws search, order and filters as the address has them; returns what they ask for, and a place beside them."""
    search, folds = st.columns([5, 7], vertical_alignment="bottom")
    with search:
        shown = _SEARCHED["meaning" if st.query_params.get("in") == "meaning" else "prompt"]
        words = _typed("search", _("Search"), placeholder=_(shown), icon=":material/search:")
    meant = _meant(words)
    with folds, st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="gallery_folds"):
        if the_settings().search_clip:
            _chosen_of_few("in", _("Search in"), _IN)
        with st.popover(_("Filter and order"), icon=":material/tune:"):
            if meant is None:
                by = _one_of("order", _("Order"), ORDERS, lambda name: _(_ORDER[name]))
            else:
                by = ORDERS[0]
                st.caption(_("The most alike come first."))
            board = _board([name for name in gallery.boards_of(the_studio(), visitor) if name != FAVOURITES])
            filters = _filters()
            _picture_to_be_like()
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="gallery_bar"):
        kept = _chosen_of_few("whose", _("Whose"), _WHOSE)
        beside = st.container(width="content")
        _changed(visitor, bool(words) or meant is not None)
        if board is not None:
            collecting.manage(visitor, board)
    if board is None and kept == "favourites":
        board = FAVOURITES
    page = st.query_params.get("page", "1")
    look = Look(
        search="" if meant else words,
        meant=meant,
        mine=kept == "mine",
        board=board,
        order=by,  # type: ignore[arg-type]
        page=int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1,
        from_id=st.query_params.get("since") if page != "1" else None,
        **filters,
    )
    return look, beside


def _picture_key() -> str:
    return f"gallery_picture_{st.session_state.get(_PICTURES, 0)}"


def _look_anew() -> None:
    turn_to(1, None)
    st.query_params.pop("like", None)


def is_narrowed() -> bool:
    """Whether anything but all finished pictures, newest first, is asked for."""
    return st.session_state.get(_picture_key()) is not None or any(
        name in st.query_params for name in (*_NARROWING, *_PAGE, "search", "whose", "board", "order", "like")
    )


def turn_to(page: int, begins: str | None, *, anew: bool = False) -> None:
    """From a callback: another page of what is shown. begins: where; anew: each page says where the next one does."""
    if page <= 1:
        for name in _PAGE:
            st.query_params.pop(name, None)
        return
    if begins is not None and (anew or "since" not in st.query_params):
        st.query_params["since"] = begins
    st.query_params["page"] = str(page)


def _meant(words: str) -> Query | None:
    """What pictures are to show or to be like, where they are not looked for by the words of their prompts."""
    if not the_settings().search_clip:
        return None
    if like := st.query_params.get("like"):
        return Query(like=like)
    if (picture := st.session_state.get(_picture_key())) is not None:
        return Query(picture=picture.getvalue())
    return Query(words=words) if st.query_params.get("in") == "meaning" and words else None


def _picture_to_be_like() -> None:
    if the_settings().search_clip:
        about = _("Finds pictures that look like it. It is read and not kept.")
        st.file_uploader(_("Like a picture"), TYPES, key=_picture_key(), on_change=_look_anew, help=about)


def _changed(visitor: Submitter, searched: bool) -> None:
    """What is folded away and not as it usually is, each with a way back."""
    chips: list[tuple[str, str]] = []
    if (order := st.query_params.get("order")) in ORDERS[1:]:
        chips.append(("order", _(_ORDER[order])))
    said: dict[str, Callable[[str], str]] = {
        "board": label,
        "engine": engine_title,
        "style": lambda name: registry.STYLES.get(name) or name,
        "status": lambda name: _(_STATUS.get(name, name)),
        "from": lambda day: f"{_('From')} {day}",
        "to": lambda day: f"{_('To')} {day}",
    }
    chips += [(name, words(st.query_params[name])) for name, words in said.items() if st.query_params.get(name)]
    if st.query_params.get("value"):
        chips.append(("setting", f"{st.query_params.get('setting', '')} {st.query_params['value']}"))
    if like := st.query_params.get("like"):
        with suppress(UnknownJob):
            prompt = quoted(short(access.job(the_studio(), visitor, like).prompt, 40))
            chips.append(("like", _("Like “{prompt}”", prompt=prompt)))
    elif st.session_state.get(_picture_key()) is not None:
        chips.append((_PICTURES, _("Like a picture")))
    if not chips and not searched:
        return
    with st.container(
        horizontal=True, gap="xsmall", vertical_alignment="center", width="content", key="gallery_changed"
    ):
        for name, text in chips:
            st.button(
                label(short(text, 60)),
                key=f"without_{name}",
                icon=":material/close:",
                icon_position="right",
                help=_("As it usually is"),
                on_click=_without,
                args=(name,),
            )
        st.button(_("Show all again"), icon=":material/close:", type="tertiary", on_click=_clear)


def _without(name: str) -> None:
    turn_to(1, None)
    for one in (name, "value") if name == "setting" else (name,):
        st.query_params.pop(one, None)
    if name == _PICTURES:
        _forget_the_picture()


def _forget_the_picture() -> None:
    st.session_state[_PICTURES] = st.session_state.get(_PICTURES, 0) + 1  # the browser would send the old one again


def _filters() -> dict[str, Any]:
    engine = _one_of("engine", _("Engine"), ["", *registry.ENGINES], _engine)
    styles = ["", *registry.STYLES]
    style = _one_of("style", _("Style"), styles, lambda name: registry.STYLES.get(name) or _("Any"))
    status = _one_of("status", _("Status"), list(STATUSES), lambda name: _(_STATUS[name]))
    first, last = st.columns(2, wrap=False)
    with first:
        since = _day("from", _("From"))
    with last:
        until = _day("to", _("To"))
    names = _settings(engine)
    name, value = st.columns(2)
    with name:
        setting = _one_of("setting", _("Setting"), ["", *names], lambda one: one or _("any"))
    with value:
        said = _("As the settings of a picture show it: 24, 0.5, on.")
        wanted = _typed("value", _("Its value"), help=said) if setting else ""
    settings = [("style", style)] if style else []
    settings += [(setting, wanted)] if wanted else []
    return {
        "engine": engine or None,
        "without": () if engine else tuple(engines_making("result")),  # found by their name only
        "states": STATUSES[status],
        "settings": tuple(settings),
        "since": None if since is None else _midnight(since),
        "until": None if until is None or until == date.max else _midnight(until + timedelta(days=1)),
    }


def _engine(name: str) -> str:
    return engine_title(name) if name else _("All that make pictures")


def _settings(engine: str) -> list[str]:
    """The settings that pictures of this engine have, or of any."""
    engines = [engine] if engine else registry.drawing_engines()
    found = {name for one in engines for name in params_class(one).model_fields}
    return sorted(found - {"prompt", "seed", "style"})


def _board(names: list[str]) -> str | None:
    if not names:
        return None
    chosen = _one_of("board", _("Board"), ["", *names], lambda name: label(name) if name else _("None"))
    return chosen or None


def _midnight(day: date) -> float:
    """The beginning of a day by the visitor's clock, in UTC s."""
    zone: tzinfo = UTC
    with suppress(KeyError, ValueError, OSError):  # a name that nobody here knows
        zone = ZoneInfo(st.context.timezone) if st.context.timezone else UTC
    with suppress(OverflowError):
        return datetime.combine(day, time(), zone).timestamp()
    return 0.0  # there was nothing in the year 1, wherever


def _typed(name: str, title: str, **more: Any) -> str:
    shown = st.query_params.get(name, "")[:500]
    value = _settled(name, shown, "", lambda key, call: st.text_input(title, shown, key=key, **call, **more))
    return str(value or "").strip()


def _one_of(name: str, title: str, names: Sequence[str], titles: Callable[[str], str]) -> str:
    said = st.query_params.get(name, names[0])
    shown = said if said in names else names[0]

    def draw(key: str, call: dict[str, Any]) -> Any:
        return st.selectbox(title, names, names.index(shown), key=key, format_func=titles, **call)

    return str(_settled(name, shown, names[0], draw))


def _chosen_of_few(name: str, title: str, titles: dict[str, str]) -> str:
    first, said = next(iter(titles)), st.query_params.get(name)
    shown = said if said in titles else first

    def draw(key: str, call: dict[str, Any]) -> Any:
        return st.segmented_control(
            title,
            list(titles),
            default=shown,
            key=key,
            required=True,
            format_func=lambda one: _(titles[one]),
            label_visibility="collapsed",
            **call,
        )

    return str(_settled(name, shown, first, draw))


def _day(name: str, title: str) -> date | None:
    shown: date | None = None
    with suppress(ValueError):
        shown = date.fromisoformat(st.query_params.get(name, ""))
    found: date | None = _settled(name, shown, None, lambda key, call: st.date_input(title, shown, key=key, **call))
    return found


def _settled(name: str, shown: Any, default: Any, draw: Callable[[str, dict[str, Any]], Any]) -> Any:
    """A widget that shows what the address says; what is set in it goes into the address.

    A session that has not drawn it before may be told by the browser what was set in it when an earlier one was lost.
    """
    key = f"gallery_{name}"
    known: set[str] = st.session_state.setdefault("gallery_known", set())
    if name in known and st.session_state.get(key) != shown:
        st.session_state[key] = shown
    value = draw(key, {"on_change": _write, "args": (name, default)})
    if name not in known and value != shown:
        _write(name, default)
        shown = value
    known.add(name)
    return shown


def _write(name: str, default: Any) -> None:
    """Into the address, what was just set; the first page of it is shown."""
    turn_to(1, None)
    value = st.session_state[f"gallery_{name}"]
    if value == default or not value:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = value.isoformat() if isinstance(value, date) else str(value)


def _clear() -> None:
    for name in (*_NARROWING, *_PAGE, "search", "board", "like", "order"):
        st.query_params.pop(name, None)
    _forget_the_picture()
