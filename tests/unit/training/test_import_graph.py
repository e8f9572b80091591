"""Recipes stand alone: what two of them need has a file of its own."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "generator" / "training"
TREES = {path.stem: ast.parse(path.read_text()) for path in FOLDER.glob("*.py") if path.stem != "__init__"}


def imported(tree: ast.Module) -> set[str]:
    """Modules of the folder that a module imports anywhere."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.removeprefix("generator.training.") for name in names} & set(TREES)


def test_no_program_imports_a_program() -> None:
    programs = {
        name
        for name, tree in TREES.items()
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
    }
    assert {"biggan", "clip", "data", "style_head", "vqgan"} <= programs
    found = {name: imported(tree) & programs for name, tree in TREES.items()}
    # The one that trains three networks after another in one process, with the data on the device once.
    assert found.pop("family") == {"unit_vqgan", "flow", "relations"}
    assert not any(found.values()), found


def test_imports_run_in_no_circle() -> None:
    order = list(TopologicalSorter({name: imported(tree) for name, tree in TREES.items()}).static_order())
    assert set(order) == set(TREES)
