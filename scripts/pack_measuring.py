"""All that measures the engines on a GPU without internet, in one file of at most 50 MB: code and missing packages.

python scripts/pack_measuring.py measuring.tar        here
OUT=out scripts/measure_gpu.sh measuring.tar          there
The weights of the embedded models stay here: what is measured has random ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from generator import bundles

MAX_BYTES = 50_000_000
CODE = (
    "lasting.py",
    "characters",
    "generator",
    "executor/__init__.py",
    "executor/memory.py",
    "scripts/benchmark_engine.py",
    "scripts/check_promises.py",
    "scripts/device_turn.py",
    "scripts/gpu_report.py",
    "scripts/measure_device.py",
    "scripts/measure_engines.py",
    "scripts/measure_gpu.py",
    "scripts/measure_training.py",
    "tests/captioned_pictures.py",
    "tests/real_formats.py",
    "tests/small_diffusion.py",
    "tests/tiny_diffusers.py",
    "tests/tiny_engines.py",
)
LACKING = bundles.Packages(
    compiled=(*bundles.GENERATOR.compiled, "kornia_rs"),
    pure=(
        *bundles.GENERATOR.pure,
        "typing-extensions",
        "diffusers",
        "importlib-metadata",
        "lazy-importer",
        "spandrel",
        "kornia",
        "pytorch-pretrained-biggan",
        "boto3",  # and the rest, which pytorch-pretrained-biggan imports
        "botocore",
        "s3transfer",
        "jmespath",
    ),
)


def pack(target: Path, pythons: Sequence[str]) -> int:
    """Write the file; how many bytes it has. Raises BundleTooLarge, CalledProcessError of pip."""
    return bundles.pack(target, bundles.code(CODE), LACKING, pythons, MAX_BYTES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="the file to write")
    parser.add_argument("--python", nargs="+", default=["3.12"], help="versions that the machine may have")
    given = parser.parse_args()
    print(f"{given.target}: {pack(given.target, given.python) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
