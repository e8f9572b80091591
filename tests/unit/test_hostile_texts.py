"""Whatever text comes from outside, every function that takes one answers with a result or a sentence, never with a
raw error: all functions of db/ and studio/ are called, those that are added tomorrow as well."""

from __future__ import annotations

import collections.abc
import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import db
import studio as studio_package
from db.artefacts import Store
from db.queue import NewJob, Order
from db.sheets.submissions import NewSheet
from settings import Settings
from studio.context import Studio, Submitter
from studio.errors import SENTENCES
from studio.submit import Wish
from studio.uploads import Upload
from tests.new_database import open_new

HOSTILE = {
    "nothing": "",
    "a lone surrogate": "066149b5d92ad0d03743116e7\ud800",
    "a NUL": "066149b5d92ad0d03743116e7\x00",
    "digits of others": "٠٦٦١٤٩b5d92ad0d03743116e7",
    "a line more": "066149b5d92ad0d03743116e7c\n",
    "far too long": "a" * 70_000,
    "a way out": "../../etc/passwd",
    "SQL": "%_'\"; DROP TABLE jobs; --",
    "formats": "{0} {x} %s %(x)s \\ $HOME `id`",
    "bidi": "\u202e\u2066\u200b\ufeff\U000e0001",
    "nobody's": "066149b5d92ad0d03743116e7c",
}

# Not asked with what comes from outside, or it does its worst by design.
LEFT_OUT = {
    "db.datasets.records.save": "its file is one that the studio has written",
    "db.models.trained.bring": "its file is one that the studio has received, and looked at",
    "db.engine.connect": "its own table is in test_masking.py",
    "db.engine.upgrade": "a migration's name is the program's",
    "db.queue.fair_order.in_turn": "its lengths are those of lists that are asked about with it",
    "db.queue.transitions.heartbeat": "its curve of scores is an executor's own",
    "studio.model_names.check_free": "its names are those of settings that were validated",
    "studio.costs.together": "its engines and settings are those of cells that were validated",
    "studio.run_needs.bases": "its engine is one of the two that train",
}
SKIPPED = object()


def modules(package: types.ModuleType) -> Iterator[types.ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if ".migrations" not in found.name:
            yield importlib.import_module(found.name)


def functions() -> list[Any]:
    found = {}
    for package in (db, studio_package):
        for module in modules(package):
            for name, function in vars(module).items():
                if inspect.isfunction(function) and function.__module__ == module.__name__ and name[0] != "_":
                    called = f"{module.__name__}.{name}"
                    if called not in LEFT_OUT and _takes_text(function):
                        found[called] = function
    once = [pytest.param("sqlite", found[called], id=called) for called in sorted(found)]
    # What studio/ adds to db/ does not depend on the database, nor does what is given none.
    asked = [called for called in sorted(found) if called.startswith("db.") and _takes_a_database(found[called])]
    return once + [pytest.param("postgresql", found[called], id=f"postgresql-{called}") for called in asked]


def _takes_text(function: Any) -> bool:
    try:
        hints = typing.get_type_hints(function)
    except NameError:
        return False  # names something that only type checkers know
    hints.pop("return", None)
    return any("str" in str(hint) or hint in (NewJob, NewSheet, Wish, Upload, Submitter) for hint in hints.values())


def _takes_a_database(function: Any) -> bool:
    return not {sa.Engine, sa.Connection}.isdisjoint(typing.get_type_hints(function).values())


def made(hint: Any, text: str, studio: Studio) -> Any:
    """What a parameter is given; SKIPPED where nothing like it comes from outside."""
    new = NewJob(engine=text, checkpoint=text, batch_key="b", prompt=text, params={"prompt": text}, total_steps=1)
    simple: dict[Any, Any] = {
        str: text,
        int: 1,
        float: 1.0,
        bool: False,
        bytes: text.encode(errors="replace"),
        Any: text,
        object: text,
        sa.Engine: studio.db,
        Studio: studio,
        Store: studio.store,
        Submitter: Submitter(text, is_host=True, order=Order(key=text, fingerprint=text)),
        NewJob: new,
        NewSheet: NewSheet(kind="candidates", prompt=text, wanted=[(text, new)], layout={"x": text}),
        Wish: Wish(engine="vqgan-clip", values={"prompt": text, "init_image": text}),
        Upload: Upload(text, b""),
        Path: Path("data"),
        type(None): None,
    }
    if hint in simple:
        return simple[hint]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return made(next((one for one in inner if one is not type(None)), type(None)), text, studio)
    if origin in (
        list,
        set,
        tuple,
        frozenset,
        *(getattr(collections.abc, n) for n in ("Sequence", "Collection", "Iterable")),
    ):
        one = made(inner[0], text, studio) if inner else text
        return SKIPPED if one is SKIPPED else [one]
    if origin in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
        value = made(inner[1], text, studio)
        return SKIPPED if value is SKIPPED else {"prompt": value, text: value}
    if origin is typing.Literal:
        return inner[0]
    return SKIPPED


@pytest.fixture(scope="module")
def studio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """One for all: whatever was done to it before, it answers."""
    folder = tmp_path_factory.mktemp("studio")
    settings = Settings(exports_dir=folder / "exports", checkpoints_dir=folder / "checkpoints")
    if request.param == "sqlite":
        db_ = open_new(folder / "jobs.db")
        yield Studio(settings, db_, Store(f"file://{folder}/artefacts"))
        db_.dispose()
    else:
        yield Studio(settings, request.getfixturevalue("migrated_postgresql"), Store(f"file://{folder}/artefacts"))


@pytest.mark.parametrize(("studio", "function"), functions(), indirect=["studio"])
def test_a_function_answers_with_a_sentence(function: Any, studio: Studio) -> None:
    hints = typing.get_type_hints(function)
    for text in HOSTILE.values():
        given = {}
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            value = made(hints[name], text, studio)
            if value is not SKIPPED:
                given[name] = value
            elif parameter.default is parameter.empty:
                pytest.skip(f"{name}: {hints[name]} does not come from outside")
        try:
            result = function(**given)
            if inspect.isgenerator(result):
                next(result, None)
        except SENTENCES as error:
            assert str(error).encode(errors="backslashreplace")
