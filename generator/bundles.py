"""One file for one call on a machine that has PyTorch and no internet: code, the packages it lacks, and data.

`scripts/unpack_bundle.sh` unpacks it there.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
WEIGHTS = ROOT / "generator" / "weights"
UNPACK = "scripts/unpack_bundle.sh"
CODE = (".py", ".txt", ".json", ".gz", ".c")
GLIBC = (17, 24, 27, 28, 31, 34)  # of manylinux_2_N


class BundleTooLarge(ValueError):
    """More than may be sent."""


@dataclass(frozen=True)
class Packages:
    """What such a machine lacks, by the names of PyPI. compiled: for its Python; pure: for any, some of which PyPI has
    as source alone."""

    compiled: tuple[str, ...]
    pure: tuple[str, ...]

    def fetch(self, folder: Path, pythons: Sequence[str]) -> None:
        """Wheels for each version of Python it may have, as they are installed here. Raises CalledProcessError."""
        pip = [sys.executable, "-m", "pip"]
        quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"]
        platforms = [f"--platform=manylinux_2_{n}_x86_64" for n in GLIBC] + ["--platform=manylinux2014_x86_64"]
        compiled, pure = ([f"{name}=={version(name)}" for name in names] for names in (self.compiled, self.pure))
        for python in pythons if compiled else ():
            there = ["--only-binary=:all:", f"--python-version={python}", *platforms, "--dest", str(folder)]
            subprocess.run([*pip, "download", *quiet, *there, *compiled], check=True)
        if pure:
            subprocess.run([*pip, "wheel", *quiet, "--wheel-dir", str(folder), *pure], check=True)


GENERATOR = Packages(  # what the generator itself imports
    compiled=("pydantic_core",),
    pure=(
        "taming-transformers-rom1504",
        "openai-clip",
        "ftfy",
        "wcwidth",
        "pydantic",
        "annotated-types",
        "typing-inspection",
    ),
)


def code(names: Iterable[str], weights: Collection[str] = ()) -> Iterator[tuple[str, Path]]:
    """Name and place of this project's files below these folders, or of these files; what unpacks them is with them.

    weights: those of the embedded models that go with them, by name.
    """
    for name in (UNPACK, *names):
        place = ROOT / name
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            embedded = file.parent == WEIGHTS
            wanted = file.suffix in (".json", ".safetensors") and file.stem in weights
            if wanted if embedded else file.suffix in CODE or file == place:
                yield file.relative_to(ROOT).as_posix(), file


def pack(
    target: Path, files: Iterable[tuple[str, Path]], packages: Packages, pythons: Sequence[str], max_bytes: int
) -> int:
    """Write files, each under its name, and the packages' wheels; how many bytes it has.

    Raises BundleTooLarge, CalledProcessError of pip, and what `files` raises.
    """
    with tempfile.TemporaryDirectory() as wheels:
        packages.fetch(Path(wheels), pythons)
        with tarfile.open(target, "w:gz", compresslevel=6) as tar:
            for name, file in files:
                tar.add(file, name)
            for file in sorted(Path(wheels).glob("*.whl")):
                tar.add(file, f"wheels/{file.name}")
    size = target.stat().st_size
    if size > max_bytes:
        raise BundleTooLarge(f"{target} has {size / 1e6:.1f} MB; at most {max_bytes / 1e6:.0f} can be sent.")
    return size
