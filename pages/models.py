"""Models: what each engine can draw with, what is installed, and the one command that gets the rest."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from pathlib import Path

import streamlit as st

from generator import registry
from generator.checkpoints.inventory import Item, inventory, misplaced, own_folders, own_loras, own_upscalers
from pages.components import job_card
from pages.components.notices import empty_state, executor_missing
from pages.hosting.sign_in import is_host
from pages.shared.errors import plain_errors
from pages.shared.navigation import go, show
from pages.shared.studio import the_settings, the_studio
from pages.shared.text import esc, label
from pages.shared.visitor import the_visitor
from pages.training import watching
from studio import models, train
from studio.access import owns

REFRESH_S = 2.0
STATES = {"embedded": "Embedded", "installed": "Installed", "not installed": "Not installed"}


def page() -> None:
    """One row for each checkpoint, by engine, then the CLIP models, and those trained here."""
    go()
    folder = the_settings().checkpoints_dir
    items = inventory(folder)
    where = label(str(folder)) if is_host() else "the folder of checkpoints"
    there = sum(item.state != "not installed" for item in items)
    st.caption(
        f"{there} of {len(items)} can be used. The embedded models come with the studio; real ones are downloaded into "
        f"{where} on the machine of the executor. Memory is that of one job with its default settings."
    )
    only = st.pills("Show", ["All", "Can be used", "Not installed"], key="models_shown", default="All", required=True)
    if the_settings().downloads:
        st.fragment(_downloads, run_every=REFRESH_S)(len([item for item in items if item.state == "installed"]))
    wanted = [item for item in items if only == "All" or (item.state == "not installed") == (only == "Not installed")]
    if not wanted:
        empty_state("Nothing here", "Every model there is can be used already.")
    for heading, group in groupby(wanted, key=_heading):
        st.header(heading, anchor=False)
        for item in group:
            _row(item)
    _trained()
    _own(folder)


def _trained() -> None:
    """Models that were trained here, each with its card and its file."""
    found = train.models(the_studio(), the_visitor())
    if not found:
        return
    st.header("Trained here", anchor=False)
    for model in found:
        with st.container(key=f"row_trained_{model.name.replace('/', '-')}", gap="xsmall"):
            with st.container(horizontal=True, vertical_alignment="center"):
                facts = f"{model.name} · {_bytes(model.bytes)} · data: {model.licence}"
                name = model.name.rpartition("/")[2]
                st.html(f'<div class="t2i-prompt">{esc(name)}</div><div class="t2i-meta">{esc(facts)}</div>')
                if train.engine_of(model) is not None:
                    st.button(
                        "Draw with it",
                        key=f"draw_{model.name}",
                        icon=":material/brush:",
                        on_click=watching.draw_with,
                        args=(model,),
                    )
                st.download_button(
                    "Export",
                    partial(the_studio().store.get, model.key),  # read when it is asked for
                    file_name=train.file_name(model),
                    key=f"export_{model.name}",
                    icon=":material/download:",
                    on_click="ignore",
                )
            with st.expander("Card"):
                st.json(model.card)


def _heading(item: Item) -> str:
    return "CLIP models" if item.kind == "clip" else registry.ENGINES[item.engines[0]].title


def _row(item: Item) -> None:
    facts = [f"{_bytes(item.memory_bytes)} of memory", item.licence]
    if item.download_bytes:
        facts.insert(0, f"{_bytes(item.download_bytes)} on disk")
    if len(item.engines) > 1:
        facts.append("for " + ", ".join(registry.ENGINES[name].title for name in item.engines))
    with st.container(key=f"row_model_{item.kind}_{item.name.replace('/', '-')}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(
                f'<div class="t2i-prompt">{esc(item.title)}</div>'
                f'<div class="t2i-meta">{esc(item.name)} · {esc(" · ".join(facts))}</div>'
            )
            st.html(f'<div class="t2i-state">{STATES[item.state]}</div>', width="content")
            if item.state == "not installed" and the_settings().downloads:
                st.button(
                    "Download",
                    key=f"download_{item.name}",
                    icon=":material/download:",
                    on_click=_ask_for,
                    args=(item.name,),
                )
        if item.state == "not installed":
            st.code(item.command, language="bash", wrap_lines=True)


def _ask_for(name: str) -> None:
    with plain_errors():
        asked = models.fetch(the_studio(), the_visitor(), name)
        st.toast("In the queue." if asked else f"{name} is on its way already.")


def _downloads(installed: int) -> None:
    """Downloads in progress; the whole page is drawn anew once one of them has ended."""
    with plain_errors():
        jobs = models.under_way(the_studio())
        items = inventory(the_settings().checkpoints_dir)
        if len([item for item in items if item.state == "installed"]) != installed:
            st.rerun()
        if jobs:
            st.header(f"Downloads ({len(jobs)})", anchor=False)
            executor_missing()
        for job in jobs:
            with st.container(horizontal=True, vertical_alignment="center", key=f"row_download_{job.id}"):
                st.html(
                    f'<div class="t2i-prompt">{esc(job.prompt)}</div>'
                    f'<div class="t2i-meta">{esc(job_card.status_line(job))}</div>'
                    f"{job_card.bar(job.step / job.total_steps, job)}"
                )
                if owns(the_visitor(), job):
                    st.button(
                        "Cancel",
                        key=f"cancel_{job.id}",
                        icon=":material/close:",
                        disabled=job.cancel_requested,
                        on_click=job_card.cancel,
                        args=(job.id, the_visitor()),
                    )


def _own(folder: Path) -> None:
    st.header("Your own files", anchor=False)
    for name in own_folders(folder):
        engine = registry.ENGINES[registry.OWN[registry.own_kind(name) or ""].engine].title
        with st.container(key=f"row_own_{name.replace('/', '-')}", horizontal=True, vertical_alignment="center"):
            st.html(f'<div class="t2i-prompt">{esc(name)}</div><div class="t2i-meta">for {esc(engine)}</div>')
    for name in own_loras(folder):
        with st.container(key=f"row_lora_{name}", horizontal=True, vertical_alignment="center"):
            st.html(f'<div class="t2i-prompt">lora/{esc(name)}</div><div class="t2i-meta">LoRA</div>')
    for name, why in misplaced(folder).items():
        with st.container(key=f"row_own_{name.replace('/', '-')}"):
            st.html(f'<div class="t2i-prompt">{esc(name)}</div><div class="t2i-meta">{esc(why)}</div>')
    own = own_upscalers(folder)
    if own:
        st.text("Upscalers of your own: " + ", ".join(own))
    st.caption(
        "Stable Diffusion in one file, as model sites publish it, goes into that folder as "
        "`diffusers/NAME.safetensors` (or .ckpt). Other models of your own are folders there: `diffusers/NAME`, "
        "`vqgan-f16/NAME`, `biggan-deep-256/NAME`, `guided-diffusion-512/NAME`. Models of Hugging Face are fetched "
        "there by their owner and name: `python -m generator.checkpoints download vqgan-f16/OWNER/MODEL`"
    )
    st.caption(
        "An upscaler that spandrel knows (.safetensors or .pth) can be named under Upscaler once it lies in that "
        "folder. Files are read without running anything in them."
    )


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


if __name__ == "__main__":
    show(page)
