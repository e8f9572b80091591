"""Open emoji sets: where they are had, what they call their pictures, and one picture rendered to RGBA.

Only permissive sets are read (see SOURCES); flags and skin-tone variants are left out.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SOURCES = (
    # style, npm package, licence, attribution
    ("noto", "@iconify-json/noto", "Apache-2.0", "Noto Emoji, Google"),
    ("twemoji", "@iconify-json/twemoji", "CC-BY-4.0", "Twemoji, Twitter, Inc. and contributors"),
    ("fluent", "@iconify-json/fluent-emoji-flat", "MIT", "Fluent Emoji, Microsoft"),
    ("3d", "@lobehub/fluent-emoji-3d", "MIT", "Fluent Emoji 3D, Microsoft, packaged by LobeHub"),
    ("silhouette", "@iconify-json/fluent-emoji-high-contrast", "MIT", "Fluent Emoji High Contrast, Microsoft"),
    ("blob", "@iconify-json/noto-v1", "Apache-2.0", "Noto Emoji version 1, Google"),
    ("fx", "@iconify-json/fxemoji", "Apache-2.0", "FxEmojis, Mozilla"),
)
STYLES = tuple(source[0] for source in SOURCES)
LABELS = "emojibase-data"  # MIT; labels, tags and shortcodes by code point
MARGIN = 0.04  # of the picture, on each side
COMPONENTS = 2  # hair and skin tones
GROUPS = {  # the names and numbers of emojibase
    "smileys-emotion": 0,
    "people-body": 1,
    "animals-nature": 3,
    "food-drink": 4,
    "travel-places": 5,
    "activities": 6,
    "objects": 7,
    "symbols": 8,
}
SKIN_TONES = re.compile("1F3F[B-F]")


def fetch(packages: Path, names: list[str]) -> None:
    """Fetch npm packages into `packages` (one folder each), leaving out those already there."""
    packages.mkdir(parents=True, exist_ok=True)
    for name in names:
        folder = packages / name.strip("@").replace("/", "-")
        if (folder / "package" / "package.json").is_file():
            continue
        done = subprocess.run(["npm", "pack", "--silent", name], cwd=packages, check=True, capture_output=True)
        archive = packages / done.stdout.decode().split()[-1]
        folder.mkdir(exist_ok=True)
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")


def read_concepts(package: Path) -> list[dict[str, Any]]:
    """Labels, tags and shortcodes of every emoji but flags and skin tones."""
    shortcodes = json.loads((package / "en/shortcodes/github.json").read_text())
    concepts = []
    for entry in json.loads((package / "en/data.json").read_text()):
        if entry.get("group") not in GROUPS.values() or SKIN_TONES.search(entry["hexcode"]):
            continue
        codes = shortcodes.get(entry["hexcode"], [])
        concepts.append(
            {
                "code": plain_code(entry["hexcode"]),
                "label": entry["label"],
                "tags": entry.get("tags", []),
                "shortcodes": [codes] if isinstance(codes, str) else codes,
                "group": entry["group"],
                "subgroup": entry["subgroup"],
            }
        )
    return concepts


def plain_code(hexcode: str) -> str:
    """Code points in lower case without the variation selector, the key the sets share."""
    return "-".join(part for part in hexcode.lower().split("-") if part != "fe0f")


def icon_bodies(package: Path, concepts: list[dict[str, Any]], names_from: Path | None) -> dict[str, str]:
    """SVG source by code. Sets without a table of code points are matched by another's names or by the label."""
    icons = json.loads((package / "icons.json").read_text())
    chars = json.loads((package / "chars.json").read_text())
    if not chars and names_from is not None:
        chars = json.loads((names_from / "chars.json").read_text())
    if icons["prefix"] == "fxemoji":
        chars = {concept["code"]: re.sub(r"[^a-z0-9]", "", concept["label"].lower()) for concept in concepts}
    bodies = {}
    for code, name in chars.items():
        name = name if name in icons["icons"] else icons.get("aliases", {}).get(name, {}).get("parent", "")
        icon = icons["icons"].get(name)
        if icon is None:
            continue
        width = icon.get("width", icons.get("width", 16))
        height = icon.get("height", icons.get("height", 16))
        frame = f'viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg"'
        frame += ' xmlns:xlink="http://www.w3.org/1999/xlink"'
        bodies[plain_code(code)] = f"<svg {frame}>{icon['body'].replace('currentColor', 'black')}</svg>"
    return bodies


def unpacked(packages: Path, name: str) -> Path:
    """Where `fetch` has put a package."""
    return packages / name.strip("@").replace("/", "-") / "package"


def drawings(packages: Path, style: str, concepts: list[dict[str, Any]]) -> Mapping[str, str | Path]:
    """What `render` takes, by code: the SVG text or the bitmap file of every picture of one style."""
    folder = unpacked(packages, {source[0]: source[1] for source in SOURCES}[style])
    if style == "3d":
        return {plain_code(path.stem): path for path in sorted((folder / "assets").glob("*.webp"))}
    return icon_bodies(folder, concepts, unpacked(packages, "@iconify-json/noto"))


def render(source: str | Path, resolution: int) -> np.ndarray | None:
    """One SVG text or bitmap file -> (R, R, 4) uint8 with a margin; None for an empty picture."""
    import resvg_py

    if isinstance(source, Path):
        picture = Image.open(source).convert("RGBA")
    else:
        data = resvg_py.svg_to_bytes(svg_string=source, width=2 * resolution)
        picture = Image.open(io.BytesIO(bytes(data))).convert("RGBA")
    inner = round(resolution * (1 - 2 * MARGIN))
    ratio = inner / max(picture.size)
    size = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
    picture = picture.resize(size, Image.Resampling.BOX, reducing_gap=3.0)
    canvas = Image.new("RGBA", (resolution, resolution), (255, 255, 255, 0))
    canvas.paste(picture, ((resolution - size[0]) // 2, (resolution - size[1]) // 2))
    array = np.asarray(canvas)
    return array if array[..., 3].mean() > 6 else None
