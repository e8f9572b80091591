"""The house stays as it was designed: who may import whom, file sizes, nothing at import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    p
    for p in [
        *ROOT.glob("*.py"),
        *ROOT.glob("pages/*.py"),
        *ROOT.glob("executor/*.py"),
        *ROOT.glob("db/**/*.py"),
        *ROOT.glob("generator/**/*.py"),
        *ROOT.glob("ratings/*.py"),
    ]
    if "__pycache__" not in p.parts
)
TESTS = sorted(ROOT.glob("tests/**/*.py"))
TORCH_FREE = {"generator.params", "generator.registry", "generator.prompts", "generator.output", "generator"}
TORCH_FREE |= {"generator.film", "generator.metadata"}
TORCH_FREE |= {"generator.inventory"}  # what is installed: tables and names of files, nothing is loaded
TORCH_FREE |= {"ratings.standings", "ratings.pairing"}


def imports_of(path: Path) -> set[str]:
    """Modules a file imports anywhere but under `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_room_imports_only_what_it_may(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    if room == "db":
        assert not packages(path) & {"generator", "torch", "streamlit", "pages", "executor"}
    elif room == "ratings":
        assert not packages(path) & {
            "db",
            "generator",
            "torch",
            "streamlit",
            "pages",
            "job_executor",
            "executor",
            "settings",
        }
    elif room == "generator":
        assert not packages(path) & {"db", "streamlit", "pages", "job_executor", "executor", "settings"}
        assert "ratings" not in packages(path)
    elif room in ("pages", "webapp.py", "api.py"):
        assert not packages(path) & {"torch", "job_executor", "executor"}
        engines = {n for n in imports_of(path) if n.startswith("generator.") and n.count(".") == 1} - TORCH_FREE
        assert not {n for n in engines if (ROOT / (n.replace(".", "/") + ".py")).exists()}
    elif room in ("job_executor.py", "executor"):
        assert "streamlit" not in packages(path)


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_is_too_long_or_a_drawer_for_leftovers(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    assert path.stem not in ("utils", "helpers", "common", "misc")


def test_a_page_can_know_engines_and_parameters_without_loading_torch() -> None:
    modules = ", ".join(sorted(TORCH_FREE))
    code = f"import {modules}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
