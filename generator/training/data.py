"""Fetch open emoji sets, render them to one RGBA array, and composite training batches from it.

`python -m generator.training.data --output data/training` makes `pictures.npy` (N, R, R, 4) uint8 and `index.json`.
Only permissive sets are read (see SOURCES); flags and skin-tone variants are left out.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from generator.training.captions import common

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
FLAGS, COMPONENTS = 9, 2
SKIN_TONES = re.compile("1F3F[B-F]")


class DataMissing(FileNotFoundError):
    """The training data has not been made yet."""


@dataclass
class Pictures:
    """Every picture with its concept and style; `rgba` is (N, R, R, 4) uint8, straight alpha."""

    rgba: np.ndarray
    concept: np.ndarray  # (N,) row of `concepts`
    style: np.ndarray  # (N,) index in `styles`
    concepts: list[dict[str, Any]]
    styles: list[str]
    train: np.ndarray  # (N,) bool
    unseen_concept: np.ndarray  # (N,) bool: no picture of this concept is trained on
    unseen_style: np.ndarray  # (N,) bool: the concept is trained on in other styles only


def load(folder: Path) -> Pictures:
    """Read what `python -m generator.training.data` wrote. Raises DataMissing."""
    if not (folder / "index.json").is_file():
        raise DataMissing(f"no index.json in {folder}: run `python -m generator.training.data --output {folder}`")
    index = json.loads((folder / "index.json").read_text())
    concept, style, split = (np.array(column) for column in zip(*index["pictures"], strict=True))
    rgba = np.load(folder / "pictures.npy")
    return Pictures(rgba, concept, style, index["concepts"], index["styles"], split == 0, split == 1, split == 2)


def composite(
    rgba: torch.Tensor,
    background: torch.Tensor,
    generator: torch.Generator | None = None,
    scale: tuple[float, float] = (1.0, 1.0),
    shift: float = 0.0,
    flip: bool = False,
    rotate: float = 0.0,
) -> torch.Tensor:
    """Lay pictures (B, R, R, 4) uint8 on plain colours (B, 3) in [0, 1] -> (B, 3, R, R) float in [0, 1].

    `scale` and `shift` (fraction of the picture) and `rotate` (radians) bound a random placement.
    """
    picture = rgba.permute(0, 3, 1, 2).float() / 255
    alpha = picture[:, 3:]
    picture = torch.cat([picture[:, :3] * alpha, alpha], dim=1)
    if generator is not None:
        count = len(rgba)
        uniform = torch.rand(5, count, generator=generator)
        size = scale[0] + (scale[1] - scale[0]) * uniform[0]
        angle = (uniform[1] * 2 - 1) * rotate
        mirror = torch.where(uniform[2] < 0.5, -1.0, 1.0) if flip else torch.ones(count)
        matrix = torch.zeros(count, 2, 3)
        matrix[:, 0, 0], matrix[:, 0, 1] = angle.cos() / size * mirror, -angle.sin() / size
        matrix[:, 1, 0], matrix[:, 1, 1] = angle.sin() / size * mirror, angle.cos() / size
        matrix[:, :, 2] = (uniform[3:5].T * 2 - 1) * 2 * shift
        grid = F.affine_grid(matrix, list(picture.shape), align_corners=False)
        picture = F.grid_sample(picture, grid, padding_mode="zeros", align_corners=False)
    return (picture[:, :3] + (1 - picture[:, 3:]) * background[:, :, None, None]).clamp(0, 1)


def backgrounds(count: int, generator: torch.Generator, white: float = 0.7) -> torch.Tensor:
    """Plain colours (count, 3): white with probability `white`, else any light colour."""
    colour = 1 - 0.45 * torch.rand(count, 3, generator=generator) * torch.rand(count, 1, generator=generator)
    keep = torch.rand(count, 1, generator=generator) < white
    return torch.where(keep, torch.ones(count, 3), colour)


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
        if entry.get("group") in (None, FLAGS, COMPONENTS) or SKIN_TONES.search(entry["hexcode"]):
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


def make(output: Path, resolution: int = 64, limit: int | None = None) -> None:
    """Fetch, render and index everything. `limit` keeps the first so many concepts only."""
    packages = output / "packages"
    fetch(packages, [LABELS, *(source[1] for source in SOURCES)])
    concepts = read_concepts(unpacked(packages, LABELS))[:limit]
    row = {concept["code"]: number for number, concept in enumerate(concepts)}
    draw = random.Random(0)
    held_out = set(draw.sample(range(len(concepts)), len(concepts) // 20))
    rendered, pictures = [], []
    for number, (style, *_) in enumerate(SOURCES):
        sources = drawings(packages, style, concepts)
        found = 0
        for code in sorted(sources):
            if code not in row or (picture := render(sources[code], resolution)) is None:
                continue
            if row[code] in held_out:
                split = 0 if common(concepts[row[code]]) else 1  # what people ask for first is always trained on
            else:
                split = 2 if draw.random() < 0.02 else 0
            rendered.append(picture)
            pictures.append((row[code], number, split))
            found += 1
        print(f"{style:12} {found} pictures", flush=True)
    np.save(output / "pictures.npy", np.stack(rendered))
    index = {"styles": list(STYLES), "concepts": concepts, "pictures": pictures, "resolution": resolution}
    (output / "index.json").write_text(json.dumps(index))
    print(f"{len(pictures)} pictures of {len(concepts)} concepts", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("data/training"))
    parser.add_argument("--scale", choices=("cpu", "gpu"), default="cpu", help="cpu: 64 px, gpu: 128 px")
    parser.add_argument("--limit", type=int, help="only the first so many concepts")
    arguments = parser.parse_args()
    make(arguments.output, 64 if arguments.scale == "cpu" else 128, arguments.limit)


if __name__ == "__main__":
    main()
