"""An open emoji set as a folder to train a model of one's own from: `python -m generator.training.emoji_folder FOLDER`.

Fetched from npm and rendered on white, each picture captioned with its name: PNG files and metadata.jsonl.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from generator.training.emoji_sets import (
    GROUPS,
    LABELS,
    SOURCES,
    STYLES,
    drawings,
    fetch,
    read_concepts,
    render,
    unpacked,
)

NAMES_FROM = "@iconify-json/noto"  # of the sets without a table of code points


def make(folder: Path, style: str, groups: Sequence[str], resolution: int, packages: Path) -> int:
    """Fetch what is not there yet, render and caption those of `groups`; how many pictures there are."""
    source = next(source for source in SOURCES if source[0] == style)
    fetch(packages, [LABELS, source[1], NAMES_FROM])
    numbers = {GROUPS[group] for group in groups}
    concepts = [concept for concept in read_concepts(unpacked(packages, LABELS)) if concept["group"] in numbers]
    names = {concept["code"]: concept["label"] for concept in concepts}
    found = drawings(packages, style, concepts)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for code in sorted(found.keys() & names):
        if (drawn := render(found[code], resolution)) is None:
            continue
        picture = Image.fromarray(drawn, "RGBA")
        white = Image.new("RGBA", picture.size, "white")
        white.alpha_composite(picture)
        white.convert("RGB").save(folder / f"{code}.png")
        rows.append(json.dumps({"file_name": f"{code}.png", "text": names[code]}, ensure_ascii=False) + "\n")
    (folder / "metadata.jsonl").write_text("".join(rows), encoding="utf-8")
    return len(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; its exit status."""
    prog = "python -m generator.training.emoji_folder"
    parser = argparse.ArgumentParser(prog=prog, description="An open emoji set as a folder to train a model from.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--style", choices=STYLES, default="twemoji")
    parser.add_argument(
        "--groups", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="GROUP", help=", ".join(GROUPS)
    )
    parser.add_argument("--resolution", type=int, default=64, help="width and height in px")
    parser.add_argument("--packages", type=Path, default=Path("data/training/packages"), help="where npm's are kept")
    args = parser.parse_args(argv)
    if not 16 <= args.resolution <= 1024:
        parser.error(f"--resolution {args.resolution}: from 16 to 1024 px.")
    try:
        count = make(args.folder, args.style, args.groups, args.resolution, args.packages)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"The set could not be fetched with npm, or written: {error}", file=sys.stderr)
        return 1
    licence, by = next(source[2:] for source in SOURCES if source[0] == args.style)
    print(f"{args.folder}: {count} pictures, {by}, {licence}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
