"""A tiny set to train on, made once for all recipes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from generator.training import data, dataset, emoji_sets, patches

SHAPES = {
    "circle": '<circle cx="16" cy="16" r="14" fill="{}"/>',
    "square": '<rect x="3" y="3" width="26" height="26" fill="{}"/>',
    "drop": '<path d="M16 1 L28 22 A12 10 0 0 1 4 22 Z" fill="{}"/>',
}
COLOURS = {"red": "#d22", "green": "#2a2", "blue": "#24d", "yellow": "#ec2"}


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Package folders as npm leaves them, holding twelve simple pictures, a flag and a skin tone."""
    output = tmp_path_factory.mktemp("training")
    entries, bodies, chars = [], {}, {}
    for number, (colour, shape) in enumerate((c, s) for c in COLOURS for s in SHAPES):
        code = f"1F{900 + number}"
        entries.append({"label": f"{colour} {shape}", "hexcode": code, "tags": [shape], "group": 4, "subgroup": 42})
        bodies[f"{colour}-{shape}"] = {"body": SHAPES[shape].format(COLOURS[colour])}
        chars[code.lower()] = f"{colour}-{shape}"
    entries.append({"label": "flag: Nowhere", "hexcode": "1F1E6-1F1E7", "tags": [], "group": 9, "subgroup": 98})
    entries.append({"label": "hand: dark", "hexcode": "1F44B-1F3FF", "tags": [], "group": 1, "subgroup": 15})
    for name in (emoji_sets.LABELS, *(source[1] for source in emoji_sets.SOURCES)):
        package = output / "packages" / name.strip("@").replace("/", "-") / "package"
        package.mkdir(parents=True)
        (package / "package.json").write_text("{}")
        icons = {"prefix": name.split("/")[-1], "icons": bodies, "width": 32, "height": 32}
        if icons["prefix"] == "fxemoji":
            icons["icons"] = {key.replace("-", ""): value for key, value in bodies.items()}
        (package / "icons.json").write_text(json.dumps(icons))
        (package / "chars.json").write_text(json.dumps(chars))
        if name == emoji_sets.LABELS:
            (package / "en" / "shortcodes").mkdir(parents=True)
            (package / "en" / "data.json").write_text(json.dumps(entries))
            (package / "en" / "shortcodes" / "github.json").write_text(json.dumps({"1F900": "red_ball"}))
        if name.endswith("-3d"):
            (package / "assets").mkdir()
            Image.new("RGBA", (256, 256), (200, 30, 30, 255)).save(package / "assets" / "1f900.webp")
    data.make(output, resolution=64)
    return output


@pytest.fixture(scope="package")
def pictures(folder: Path) -> dataset.Pictures:
    return dataset.load(folder)


@pytest.fixture(scope="package")
def coder(pictures: dataset.Pictures, folder: Path) -> patches.PatchCoder:
    return patches.load_or_fit(pictures, folder / "patches.pt", n_embed=64)
