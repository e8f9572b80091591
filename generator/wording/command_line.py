"""Where the command lines and the library find the host's word lists."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from generator.wording.reading import Sources

DEFAULT_DIR = "data/wildcards"


def wildcards_dir() -> Path:
    """Where word lists are unless told: T2I_WILDCARDS_DIR or data/wildcards."""
    return Path(os.environ.get("T2I_WILDCARDS_DIR", DEFAULT_DIR))


def wildcards_dir_option(parser: argparse.ArgumentParser) -> None:
    """Adds --wildcards-dir, whose default is T2I_WILDCARDS_DIR or data/wildcards."""
    default = wildcards_dir()
    parser.add_argument(
        "--wildcards-dir",
        type=Path,
        default=default,
        help=f"folder of word lists: __animal__ is a line of animal.txt [{default}]",
    )


def sources(folder: Path | None = None) -> Sources:
    """The host's lists in this folder, or where they are unless told."""
    return Sources(folder or wildcards_dir())
