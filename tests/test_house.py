"""The house stays as it was designed: who may import whom, file sizes, no torch where it is not needed.

Every import counts wherever it stands, also inside a function and under `if TYPE_CHECKING`.
"""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# The rooms are the packages that are there: one that is built tomorrow is held to the rules from its first file on.
ROOMS = sorted(p.parent.name for p in ROOT.glob("*/__init__.py"))
SOURCES = sorted([*ROOT.glob("*.py"), *(p for room in ROOMS for p in ROOT.glob(f"{room}/**/*.py"))])
TESTS = sorted(ROOT.glob("tests/**/*.py"))

# Whom a room, or a file beside the rooms, may import besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "settings": set(),
    "ratings": set(),
    "generator": set(),
    "db": {"ratings"},
    "executor": {"db", "generator", "settings"},
    "job_executor": {"executor", "db", "generator", "settings"},
    "studio": {"db", "generator", "ratings", "settings"},
    "pages": {"studio", "db", "generator", "ratings", "settings"},
    "api": {"studio", "db", "generator", "ratings", "settings"},
    "webapp": {"pages", "studio", "db", "ratings", "settings"},
}
# Who may import these of other people's packages.
FOREIGN: dict[str, set[str]] = {
    "streamlit": {"pages", "webapp"},
    "torch": {"generator", "executor", "job_executor"},
    "fastapi": {"api"},
    "starlette": {"api"},
}
# All that whoever draws nothing may know of the generator.
SHOWN: set[str] = {
    "generator.registry",
    "generator.params",
    "generator.params.vary",
    "generator.prompts",
    "generator.checkpoints.inventory",
    "generator.images.encode",
}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in SOURCES}


@cache
def imports_of(path: Path) -> set[str]:
    """What a file imports, as the longest dotted name that is a module of ours."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path}: write imports in full"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else node.module for name in whole}
    return found


def room_of(module: str) -> str:
    return module.partition(".")[0]


def id_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_are_rules_for_every_room() -> None:
    assert {room_of(module) for module in MODULES} <= MAY_IMPORT.keys()
    assert {room_of(name) for name in SHOWN} <= set(ROOMS)


@pytest.mark.parametrize("path", SOURCES, ids=id_of)
def test_every_room_imports_only_what_it_may(path: Path) -> None:
    room = room_of(name_of(path))
    imported = {room_of(module) for module in imports_of(path)}
    assert not (imported & MAY_IMPORT.keys()) - MAY_IMPORT[room] - {room}
    assert not {name for name in imported & FOREIGN.keys() if room not in FOREIGN[name]}
    if room in ("pages", "studio", "api", "webapp"):
        engines = {module for module in imports_of(path) if room_of(module) == "generator"}
        assert not engines - SHOWN


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=id_of)
def test_no_file_is_too_long_or_a_drawer_for_leftovers(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    assert path.stem not in ("utils", "helpers", "common", "misc")


def test_what_draws_nothing_does_not_load_torch() -> None:
    """Pages, api, studio and db, and the tables, parameters and lists of the generator that they know."""
    rooms = ("pages", "api", "studio", "db", "ratings")
    modules = sorted(SHOWN | {m for m in MODULES if room_of(m) in rooms and not m.startswith("db.migrations.")})
    code = f"import sys, importlib; [importlib.import_module(m) for m in {modules}]; "
    code += "sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
