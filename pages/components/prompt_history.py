"""What a visitor has asked for before: as a list, and by arrow up in the field of the prompt."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import streamlit as st

from db import queue
from generator import registry
from pages.shared import form_memory
from pages.shared.language import _
from pages.shared.studio import the_studio
from pages.shared.text import label, short
from studio.context import Submitter

_SCRIPT = Path(__file__).with_name("prompt_history.js")
LOOKED_AT, SHOWN = 100, 20  # jobs, prompts


@cache
def _script() -> str:
    return _SCRIPT.read_text()


def arrows(prompts: list[str]) -> None:
    """Has the field of the prompt go through these."""
    text = json.dumps(prompts).replace("<", "\\u003c")  # nothing in it ends the script
    with st.container(key="history_script"):
        st.html(f"<script>{_script().replace('PROMPTS', text, 1)}</script>", unsafe_allow_javascript=True)


def chooser(prompts: list[str]) -> None:
    """The button with the list, where there is anything to list."""
    if not prompts:
        return
    with st.popover(_("Earlier"), icon=":material/history:", help=_("What you asked for before; also by arrow up.")):
        for n, prompt in enumerate(prompts):
            st.button(
                label(short(prompt)),
                key=f"earlier_{n}",
                type="tertiary",
                on_click=form_memory.preset,
                args=({"set_prompt": prompt},),
            )


def earlier(visitor: Submitter) -> list[str]:
    """Different prompts of theirs, as they were typed, the newest first."""
    engines = registry.drawing_engines()
    return queue.prompts_of(the_studio().db, visitor.id, engines, limit=LOOKED_AT)[:SHOWN]
