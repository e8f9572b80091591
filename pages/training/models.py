"""Models that were trained here or brought along, each with its card and its file; and what brings one along."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import streamlit as st

from db.artefacts import Artefact
from db.models.trained import TrainedModel
from generator.checkpoints.model_file import MAX_LICENCE, suggested_name
from pages.components.deleting import for_good
from pages.components.picture import beside
from pages.hosting.sign_in import is_host, the_host
from pages.shared.download import download_button
from pages.shared.errors import plain_errors
from pages.shared.files import files_of, load
from pages.shared.language import _
from pages.shared.studio import the_studio
from pages.shared.text import size
from pages.shared.visitor import the_visitor
from pages.training import card, dropped, watching
from studio import importing, train

MAX_SHOWN_BYTES = 1 << 30  # a download passes through the web app's memory
_KEY = "model_file"


def section() -> None:
    """The models with what can be done with them, and for the host what takes another one."""
    found = train.models(the_studio(), the_visitor())
    if not found and not is_host():
        return
    st.header(_("Trained here or imported"), anchor=False)
    files = files_of([model.job_id for model in found if model.job_id is not None])
    for model in found:
        _row(model, files.get(model.job_id or "", {}))
    if is_host():
        _import()


def _row(model: TrainedModel, files: Mapping[str, Artefact]) -> None:
    with st.container(key=f"row_trained_{model.name.replace('/', '-')}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            facts = [model.name, size(model.bytes), _("licence of its data: {licence}", licence=model.licence)]
            if model.job_id is None:
                facts.append(_("imported"))
            if model.kind == "lora":
                facts.append(_("named under Lora in the form"))
            name = model.name.rpartition("/")[2]
            with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=f"told_{model.name}"):
                grid = load(files.get("thumbnail"))
                beside(grid, name, facts, key=f"trained_{model.name}", alt=_("Samples"), side=72)
            if train.engine_of(model) is not None:
                st.button(
                    _("Draw with it"),
                    key=f"draw_{model.name}",
                    icon=":material/brush:",
                    on_click=watching.draw_with,
                    args=(model,),
                )
            if model.bytes <= MAX_SHOWN_BYTES:
                download_button(
                    _("Export as one file"),
                    partial(the_studio().store.get, model.key),  # read when it is asked for
                    file_name=train.file_name(model),
                    mime="application/octet-stream",
                    key=f"export_{model.name}",
                )
            _removal(model)
        if model.bytes > MAX_SHOWN_BYTES:
            st.caption(_("Too large for this page; the API gives it: {address}", address=_address(model)))
        with st.expander(_("Card")):
            card.show(model)


def _removal(model: TrainedModel) -> None:
    """For the host; for a run's own visitor with the run."""
    visitor = the_host() if is_host() else the_visitor()
    if model.job_id is not None:
        watching.deletion(model.job_id, model.submitter, visitor)
    elif visitor.is_host:
        with st.popover(_("Remove"), icon=":material/delete:", type="tertiary", key=f"removal_{model.name}"):
            st.text(_("Jobs that still want to draw with it fail; pictures that were drawn stay."))
            for_good(f"remove_{model.name}", _remove, model.name)


def _address(model: TrainedModel) -> str:
    return f"`/api/v1/models/{model.name}/file`"


def _import() -> None:
    if name := st.session_state.pop("imported", None):
        st.toast(_("{name} is here and can be drawn with.", name=name))
        for key in ("import_name", "import_licence"):
            st.session_state.pop(key, None)
    with st.expander(_("Import a model"), icon=":material/upload_file:"):
        st.caption(
            _(
                "A .safetensors file: a model exported from a studio like this one, or a LoRA. Nothing in it is run. "
                "Up to {most} MB here, larger ones through the API: {address}",
                most=dropped.MAX_MB,
                address="`POST /api/v1/models?name=NAME`",
            )
        )
        file = dropped.file(_KEY, _("File of the model"), "safetensors", _("Another file"))
        left, right = st.columns(2)
        suggested = "" if file is None else suggested_name(file.name)
        typed = left.text_input(
            _("Name of the model"),
            max_chars=64,
            key="import_name",
            placeholder=suggested or None,
            help=_("Letters, digits, _ and -; it is drawn with under this name."),
        )
        licence = right.text_input(
            _("Licence of its data"),
            max_chars=MAX_LICENCE,
            key="import_licence",
            placeholder=_("As its file says"),
        )
        if st.button(_("Import"), type="primary", icon=":material/upload:", key="import_model"):
            if file is None:
                st.warning(_("Choose a file first."), icon=":material/upload_file:")
                return
            with plain_errors(for_host=True):
                made = importing.import_model(
                    the_studio(), the_host(), file.path, name=typed.strip() or suggested, licence=licence
                )
                dropped.let_go(_KEY)
                st.session_state["imported"] = made.name
                st.rerun()


def _remove(name: str) -> None:
    with plain_errors(for_host=True):
        importing.remove_model(the_studio(), the_host(), name)
        st.toast(_("Removed."))
