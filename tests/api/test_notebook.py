"""The notebook in docs/ runs as it is, every cell of it, and shows pictures."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_notebook_runs_and_shows_pictures(real_studio: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_URL", real_studio)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    stored = nbformat.read(DOCS / "client.ipynb", as_version=4)
    run = nbformat.from_dict(stored)
    NotebookClient(run, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(DOCS)}}).execute()
    kept, made = (shown(notebook) for notebook in (stored, run))
    assert made == kept and len(made) > 8, "what is stored is what comes of it today"
    assert os.path.getsize(DOCS / "client.ipynb") < 300_000


def shown(notebook: nbformat.NotebookNode) -> list[tuple[str, tuple[int, int]]]:
    """(kind, size) of every picture among the outputs."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error" and output.get("name") != "stderr", output
            for kind, data in output.get("data", {}).items():
                if kind.startswith("image/"):
                    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
                        found.append((kind, image.size))
    return sorted(found)
