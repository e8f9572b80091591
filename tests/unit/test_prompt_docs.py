"""docs/prompts.md shows what becomes of its examples."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from generator.prompts import parse_prompts
from generator.wording import Sources, understand

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "prompts.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of every row of every table with that head."""
    found: list[list[str]] = []
    for table in re.findall(rf"^\| {re.escape(heading)} \|\n\|[-|]+\|\n((?:\|.*\n)+)", DOCS, re.M):
        for line in table.splitlines():
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.append([cell.strip("`") if cell.startswith("`") else cell for cell in cells])
    return found


PARTS, WORDS, CHOICES = (
    rows("written | text | weight | stop"),
    rows("written | text | words weighed"),
    rows("written | draws one of"),
)


def test_there_are_examples_of_everything() -> None:
    assert (len(PARTS), len(WORDS), len(CHOICES)) == (17, 7, 7)


@pytest.mark.parametrize(("written", "text", "weight", "stop"), PARTS)
def test_a_part_is_read_as_the_page_says(written: str, text: str, weight: str, stop: str) -> None:
    (read,) = parse_prompts(written)
    assert (read.text, f"{read.weight:g}") == (text.replace(r"\|", "|"), weight)
    assert ("" if read.stop == -math.inf else f"{read.stop:g}") == stop and not read.fragments


@pytest.mark.parametrize(("written", "text", "weighed"), WORDS)
def test_words_are_weighed_as_the_page_says(written: str, text: str, weighed: str) -> None:
    (read,) = parse_prompts(written)
    said = ", ".join(f"{piece.strip()} {weight:.3g}" for piece, weight in read.fragments if weight != 1)
    assert (read.text, said) == (text, weighed)


@pytest.mark.parametrize(("written", "outcomes"), CHOICES)
def test_choices_are_drawn_as_the_page_says(written: str, outcomes: str) -> None:
    template = written.replace(r"\|", "|")
    drawn = {
        understand("vqgan-clip", {"prompt": template, "seed": seed}, Sources(Path("nowhere"))).values["prompt"]
        for seed in range(50)
    }
    assert drawn == set(outcomes.split("; "))
