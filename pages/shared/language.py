"""The language of one visitor's pages: chosen on the page, named by the address (?lang=eu), or the browser's own.

English sentences in the code are the keys; the translations are pages/locale/*.po. Each session has its own language:
one process serves all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from gettext import NullTranslations
from pathlib import Path
from string import Formatter
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.shared import po_file

LANGUAGES = {"en": "English", "es": "Español", "eu": "Euskara"}
LOCALE = Path(__file__).resolve().parents[1] / "locale"
_ENGLISH = "en"
_SHOWN, _CHOSEN, _WIDGET = "language", "language_chosen", "language_choice"
_IN_WORDS = "language_in_words"  # keys of widgets, see chosen_in_words
_SWAPPED = str.maketrans(",.", ".,")


def _(message: str, **values: object) -> str:
    """The message in the visitor's language, its placeholders filled in."""
    text = _catalogue(language()).gettext(message)
    return _FILLING.format(text, **values) if values else text


def ngettext(one: str, many: str, n: int, **values: object) -> str:
    """The form of the message for this number, which goes into {n}."""
    return _catalogue(language()).ngettext(one, many, n).format(n=number(n, ","), **values)


def N_(message: str) -> str:
    """Marks a message that is translated where it is shown."""
    return message


def number(value: float, form: str) -> str:
    """The number in this format, with the visitor's decimal and thousands marks."""
    text = format(value, form)
    return text if language() == _ENGLISH else text.translate(_SWAPPED)


class _Filling(Formatter):
    """Fills in placeholders, numbers with the visitor's marks where the placeholder says how they are written."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec and isinstance(value, int | float):
            return number(value, format_spec)
        return str(super().format_field(value, format_spec))


_FILLING = _Filling()


def named(names: Iterable[str]) -> Callable[[str], str]:
    """For a widget: what each of these names is called, as of this run; Streamlit may ask again after it."""
    return {name: _(name) for name in names}.__getitem__


def chosen_in_words(key: str) -> str:
    """Notes the key of a widget whose choices are shown translated: what is chosen stays so in another language."""
    keys: set[str] = st.session_state.setdefault(_IN_WORDS, set())
    keys.add(key)
    return key


def language() -> str:
    """The code of the visitor's language; English outside a page."""
    if get_script_run_ctx(suppress_warning=True) is None:
        return _ENGLISH
    return str(st.session_state.get(_SHOWN, _ENGLISH))


@cache
def _catalogue(code: str) -> NullTranslations:
    return NullTranslations() if code == _ENGLISH else po_file.translations(LOCALE / f"{code}.po")


def settle() -> None:
    """Find this run's language, before anything is drawn. A chosen one stays in the address on every page."""
    asked = st.query_params.get("lang")
    chosen = asked if asked in LANGUAGES else st.session_state.get(_CHOSEN)
    if chosen is not None:
        st.session_state[_CHOSEN] = chosen
        if asked != chosen:
            st.query_params["lang"] = chosen
    accepted = st.context.headers.get("Accept-Language") or st.context.locale
    st.session_state[_SHOWN] = chosen or preferred(accepted)


def preferred(accepted: str | None) -> str:
    """The first of our languages in an Accept-Language header, by its weights; English where there is none."""
    wanted: list[tuple[float, str]] = []
    for part in (accepted or "").split(","):
        tag, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        try:
            wanted.append((float(weight), tag.split("-")[0].lower()))
        except ValueError:
            continue  # no weight anybody can read
    # Sorting keeps the order of those that weigh the same.
    ours = [code for weight, code in sorted(wanted, key=lambda one: -one[0]) if code in LANGUAGES and weight > 0]
    return ours[0] if ours else _ENGLISH


def announce() -> None:
    """Tell the browser the language, so that the page is read aloud in it."""
    with st.container(key="language_script"):
        st.html(f'<script>document.documentElement.lang = "{language()}";</script>', unsafe_allow_javascript=True)


def choice() -> None:
    """The languages to choose from, side by side: one tap on a phone."""
    st.session_state[_WIDGET] = language()
    st.segmented_control(
        _("Language"),
        list(LANGUAGES),
        key=_WIDGET,
        required=True,
        format_func=str.upper,
        label_visibility="collapsed",
        width="content",
        on_change=_choose,
    )


def _choose() -> None:
    code = st.session_state[_WIDGET]
    st.session_state[_CHOSEN] = code
    st.query_params["lang"] = code
    # Streamlit knows a choice by the words it was shown with; given anew, it is kept in other words too.
    for key in (*st.session_state.get("form", {}), *st.session_state.get(_IN_WORDS, ())):
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]
