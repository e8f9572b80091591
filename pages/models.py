"""Models: what each engine can draw with, what is installed, and the one command that gets the rest."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import streamlit as st

from generator import registry
from generator.checkpoints.inventory import Item, inventory, misplaced, own_clips, own_folders, own_loras, own_upscalers
from pages.components import acts, job_card
from pages.components.notices import empty_state, executor_missing
from pages.hosting.sign_in import is_host
from pages.shared.errors import plain_errors
from pages.shared.language import N_, _, chosen_in_words, named
from pages.shared.navigation import go, show
from pages.shared.studio import the_settings, the_studio
from pages.shared.text import esc, label, size
from pages.shared.visitor import the_visitor
from pages.training import models as trained
from studio import models
from studio.access import owns

REFRESH_S = 2.0
STATES = {"embedded": N_("Embedded"), "installed": N_("Installed"), "not installed": N_("Not installed")}
_ALL, _USABLE, _MISSING = N_("All"), N_("Can be used"), N_("Not installed")


def page() -> None:
    """What was trained here or imported; a row for each checkpoint, by engine, and the CLIP models; one's own files."""
    go()
    folder = the_settings().checkpoints_dir
    items = inventory(folder)
    trained.section()
    where = label(str(folder)) if is_host() else _("the folder of checkpoints")
    there = sum(item.state != "not installed" for item in items)
    st.caption(
        _(
            "{there} of {all} can be used. The embedded models come with the studio; real ones are downloaded into "
            "{where} on the machine of the executor. Memory is that of one job with its default settings.",
            there=there,
            all=len(items),
            where=where,
        )
    )
    shown = [_ALL, _USABLE, _MISSING]
    key = chosen_in_words("models_shown")
    only = st.pills(_("Show"), shown, key=key, default=_ALL, format_func=named(shown), required=True)
    if the_settings().downloads:
        st.fragment(_downloads, run_every=REFRESH_S)(len([item for item in items if item.state == "installed"]))
    wanted = [item for item in items if only == _ALL or (item.state == "not installed") == (only == _MISSING)]
    if not wanted:
        empty_state(_("Nothing here"), _("Every model there is can be used already."))
    for heading, group in groupby(wanted, key=_heading):
        st.header(heading, anchor=False)
        for item in group:
            _row(item)
    _own(folder)


def _heading(item: Item) -> str:
    return _("CLIP models") if item.kind == "clip" else registry.ENGINES[item.engines[0]].title


def _row(item: Item) -> None:
    facts = [_("{size} of memory", size=size(item.memory_bytes)), item.licence]
    if item.download_bytes:
        facts.insert(0, _("{size} on disk", size=size(item.download_bytes)))
    if len(item.engines) > 1:
        titles = ", ".join(registry.ENGINES[name].title for name in item.engines)
        facts.append(_("for {engines}", engines=titles))
    with st.container(key=f"row_model_{item.kind}_{item.name.replace('/', '-')}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(
                f'<div class="t2i-prompt">{esc(item.title)}</div>'
                f'<div class="t2i-meta">{esc(item.name)} · {esc(" · ".join(facts))}</div>'
            )
            st.html(f'<div class="t2i-state">{esc(_(STATES[item.state]))}</div>', width="content")
            if item.state == "not installed" and the_settings().downloads:
                st.button(
                    _("Download"),
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
        st.toast(_("In the queue.") if asked else _("{name} is on its way already.", name=name))


def _downloads(installed: int) -> None:
    """Downloads in progress; the whole page is drawn anew once one of them has ended."""
    with plain_errors():
        jobs = models.under_way(the_studio())
        items = inventory(the_settings().checkpoints_dir)
        if len([item for item in items if item.state == "installed"]) != installed:
            st.rerun()
        if jobs:
            st.header(_("Downloads ({count})", count=len(jobs)), anchor=False)
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
                        _("Cancel"),
                        key=f"cancel_{job.id}",
                        icon=":material/close:",
                        disabled=job.cancel_requested,
                        on_click=acts.cancel,
                        args=(job.id, the_visitor()),
                    )


def _own(folder: Path) -> None:
    st.header(_("Your own files"), anchor=False)
    for name in own_folders(folder):
        engine = registry.ENGINES[registry.OWN[registry.own_kind(name) or ""].engine].title
        _file(f"row_own_{name.replace('/', '-')}", name, _("for {engines}", engines=engine))
    for name in own_clips(folder):
        _file(f"row_clip_{name.replace('/', '-')}", name, "CLIP")
    for name in own_loras(folder):
        _file(f"row_lora_{name}", f"lora/{name}", "LoRA")
    for name, why in misplaced(folder).items():
        _file(f"row_own_{name.replace('/', '-')}", name, why)
    own = own_upscalers(folder)
    if own:
        st.text(_("Upscalers of your own: {names}", names=", ".join(own)))
    st.caption(
        _(
            "Stable Diffusion in one file, as model sites publish it, goes into that folder as {file} (or .ckpt). "
            "Other models of your own are folders there: {folders}. Models of Hugging Face are fetched there by their "
            "owner and name: {command}",
            file="`diffusers/NAME.safetensors`",
            folders="`diffusers/NAME`, `vqgan-f16/NAME`, `biggan-deep-256/NAME`, `guided-diffusion-512/NAME`",
            command="`python -m generator.checkpoints download vqgan-f16/OWNER/MODEL`",
        )
    )
    st.caption(
        _(
            "An upscaler that spandrel knows (.safetensors or .pth) can be named under Upscaler once it lies in that "
            "folder. Files are read without running anything in them."
        )
    )


def _file(key: str, name: str, about: str) -> None:
    with st.container(key=key, horizontal=True, vertical_alignment="center"):
        st.html(f'<div class="t2i-prompt">{esc(name)}</div><div class="t2i-meta">{esc(about)}</div>')


if __name__ == "__main__":
    show(page)
