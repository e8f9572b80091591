"""The card of a model: what it was made from and how, in words, and every setting of its recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import streamlit as st

from db.models.trained import TrainedModel
from pages.components.facts import facts
from pages.shared.language import N_, _, number
from pages.shared.studio import the_studio
from pages.shared.text import short
from studio import train

MAX_SHOWN = 400  # characters of a value; the card of an imported model says what its maker wanted
_NAMES = {
    "data": N_("Data"),
    "licence_of_the_data": N_("Licence of its data"),
    "steps": N_("Steps"),
    "stopped": N_("Stopped"),
    "train_loss": N_("Loss in training"),
    "best_validation_loss": N_("Best loss in validation"),
    "best_validation_step": N_("Step of it"),
    "minutes": N_("Minutes"),
    "hardware": N_("Hardware"),
    "captions": N_("Captions"),
    "made_with": N_("Made with"),
}


def show(model: TrainedModel) -> None:
    """As text: what a file says of itself is shown and not obeyed."""
    facts(_rows(model.card))
    with st.popover(_("Every setting"), icon=":material/tune:", type="tertiary", key=f"card_{model.name}"):
        st.code(json.dumps(model.card, indent=2, ensure_ascii=False), language="json", wrap_lines=True)


def _rows(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is told in a line: of what is below another name only the scores."""
    scores = card.get("scores")
    told = {**card, **(scores if isinstance(scores, Mapping) else {})}
    places = {name: place for place, name in enumerate(_NAMES)}
    for name in sorted(told, key=lambda one: places.get(one, len(places))):
        value = told[name]
        if name != "name" and value not in (None, "", []) and not isinstance(value, Mapping):
            title = _(_NAMES[name]) if name in _NAMES else name.replace("_", " ").capitalize()
            yield short(title), short(_plain(name, value), MAX_SHOWN)


def _plain(name: str, value: Any) -> str:
    if name == "data":
        return train.data_name(the_studio(), str(value))
    if isinstance(value, bool):
        return _("on") if value else _("off")
    if isinstance(value, int | float):
        return number(value, ",d" if isinstance(value, int) else ".4g")
    return " · ".join(map(str, value)) if isinstance(value, list) else str(value)
