"""What the host lets visitors use, and how much of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from characters.seen import holds_order_controls
from db.queue import Limits
from db.rules import event_code, host_rules, visitors
from generator import registry
from generator.params import JobParams, Params
from generator.params.vary import takes_pictures
from studio.context import Studio, Submitter
from studio.errors import TrainingOff


def in_force(studio: Studio, submitter: Submitter) -> Limits:
    """What holds for them now: their own limits, else the host's, else as configured."""
    return studio.limits_of(submitter).under(host_rules.get(studio.db))


def check_welcome(studio: Studio, submitter: Submitter) -> None:
    """Raises Banned, and CodeNeeded as `check_admitted`."""
    check_welcome_by_ban(studio, submitter)
    check_admitted(studio, submitter)


def check_welcome_by_ban(studio: Studio, submitter: Submitter) -> None:
    """Raises Banned."""
    visitors.check(studio.db, submitter.id, submitter.address)


def check_admitted(studio: Studio, submitter: Submitter) -> None:
    """Raises CodeNeeded where the event has a code and they have not shown it. Looking needs none."""
    code = code_asked_for(studio)
    if code is not None and not submitter.admitted and not submitter.is_host:
        event_code.check(studio.db, submitter.id, code)


def code_asked_for(studio: Studio) -> str | None:
    """The event's code: the host's, else as configured; None where none is needed."""
    return host_rules.get(studio.db).event_code or studio.settings.event_code


def may_train(studio: Studio, submitter: Submitter) -> bool:
    """Whether they may have a model trained: the host and whoever has a key may, visitors where the host lets them."""
    host = host_rules.get(studio.db).train
    return submitter.is_host or submitter.id.startswith("key:") or (studio.settings.train if host is None else host)


def check_may_train(studio: Studio, submitter: Submitter) -> None:
    """Raises TrainingOff."""
    if not may_train(studio, submitter):
        raise TrainingOff


def check_typed(studio: Studio, texts: Iterable[object]) -> None:
    """Raises WordRefused where a text, as it was typed, would show one of the host's words in the order on a screen.

    The queue judges what is kept of a text, and the characters that turn letters round are not.
    """
    for text in texts:
        if isinstance(text, str) and holds_order_controls(text):
            host_rules.get(studio.db).check_words(text)


def check_read(studio: Studio, params: JobParams) -> None:
    """Raises WordRefused where brackets and weights, which are not drawn, stand in one of the host's words: g(or:1.1)e.

    The queue judges a text as it is written.
    """
    if isinstance(params, Params):
        written = (params.prompt, getattr(params, "negative_prompt", ""))
        drawn = [prompt.text for _, prompt in params.texts_read if not any(prompt.text in text for text in written)]
        if drawn:
            rules = host_rules.get(studio.db)
            for text in drawn:
                rules.check_words(text)


def is_offered(studio: Studio, engine: str) -> bool:
    """Whether the host lets visitors use the engine."""
    return engine not in host_rules.get(studio.db).withheld


def offered_engines(studio: Studio) -> list[str]:
    """The engines that draw and that the host lets visitors see."""
    withheld = host_rules.get(studio.db).withheld
    return [name for name in registry.drawing_engines() if name not in withheld]


def engines_that_vary(studio: Studio) -> list[str]:
    """The same, of those that can go on from a picture."""
    offered = offered_engines(studio)
    return [name for name in takes_pictures() if name in offered]


def first_choice(studio: Studio) -> tuple[str, str]:
    """The engine and the checkpoint that the host wants shown first, whether or not they can be had."""
    host, configured = host_rules.get(studio.db), studio.settings
    return host.default_engine or configured.default_engine, host.default_checkpoint or configured.default_checkpoint


def begun(studio: Studio, engine: str | None, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The engine and the settings asked for; with the first choice where no engine is named."""
    if engine is not None:
        return engine, values
    engine, checkpoint = first_choice(studio)
    return engine, {"checkpoint": checkpoint, **values}
