"""For who looks at something else meanwhile: the tab says how far pictures are, and a word comes when one is done."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import streamlit as st

from db.jobs import Job, State
from pages.shared import form_memory
from pages.shared.language import _

_SCRIPT = Path(__file__).with_name("telling.js")
_WISH = "tell_when_done"


@cache
def _script() -> str:
    return _SCRIPT.read_text()


def wish() -> None:
    """The bell: whether to be told when pictures are done. It is there as long as pictures are, so nothing moves."""
    about = _("Your browser asks once whether it may; it needs an encrypted address or this machine.")
    told = _wished()
    words = _("Tell me no more when pictures are done") if told else _("Tell me when pictures are done")
    st.button(
        words,
        key="tell_no_more" if told else "tell_me",
        icon=":material/notifications_active:" if told else ":material/notifications:",
        type="tertiary",
        help=f"{words}. {about}",
        on_click=form_memory.preset,
        args=({_WISH: not told},),
    )


def _wished() -> bool:
    return form_memory.remembered().get(_WISH) is True


def tab(jobs: list[Job]) -> None:
    """The script that tells."""
    running = [job for job in jobs if job.state == State.RUNNING]
    title = _("Text-to-Image Generation")
    if running:
        title = f"{100 * sum(job.step / job.total_steps for job in running) / len(running):.0f} % · {title}"
    told = {
        "title": title,
        "wished": _wished(),
        "said": _("A picture is done"),
        "icon": "icon-192.png",
        "done": [{"id": job.id, "prompt": job.prompt[:200]} for job in jobs if job.state == State.SUCCEEDED],
    }
    text = json.dumps(told).replace("<", "\\u003c")  # nothing in it ends the script
    with st.container(key="title_script"):
        st.html(f"<script>{_script().replace('TOLD', text, 1)}</script>", unsafe_allow_javascript=True)
