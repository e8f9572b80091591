"""What is written into a prompt, and what is understood: parts, weights, weighed words, stages, names of pictures."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from generator.prompts import (
    Prompt,
    PromptError,
    Stage,
    append_words,
    looks_like_stage,
    parse_pictures,
    parse_prompts,
    parse_stages,
    parse_text,
    quoted,
    split,
    weighed,
    with_files,
)

TEXTS = [
    "a red heart", "Alien: the movie", "Re:Zero", "Re:Zero Rem", "a cat:abc", "a cat:1:abc", "a cat:nan", "a cat:inf",
    # verses
    "John 3:16", "John 3:16-18", "Psalm 23:1–6", "1 Cor. 13:4", "Sura 2:255", "Juan 3:16",
    # times, scores, ratios, scales
    "at 10:30", "10:30", "10:30:15", "at 10:30 pm", "Departure: 10:30", "Germany 7:1 Brazil", "Germany 7:1",
    "Result: 2:1", "16:9", "ratio 16:9 poster", "ratio:16:9", "scale 1:87", "map scale 1:25000", "1:1", "aspect 4:3",
    "mix 1:2:3", "4 : 3",
    # names with numbers
    "2001: a space odyssey", "Apollo: 13", "Temperature: -5", "Area: 51", "ISBN:978", "ISBN:97",
    "ISBN: 978-3-16", "seed:5", "page: 3",
    # addresses and paths
    "http://example.com:8080/x", "http://example.com:80", "https://example.com", "localhost:80", "127.0.0.1:80",
    "root@host:22", "C:\\x", "C:\\new\\table", "::1", "fe80::1", "fe80::a:1", "2001:db8::ff00:42:8329",
    "00:1a:2b:3c:4d:05", "std::vector", "hot::2",
    # faces
    ":)", ":3", "a cat :3", "a happy cat >:3", "a cat :0", ":-)", "a sad cat :(", "8)", "(: hello", ":( and :)",
    # numbers out of range
    "a cat:1e9", "a cat:1e999", "a cat:101", "Blade Runner:2049", ":2", ":", "::", "a:",
    # brackets without their others
    "(a", "a)", "[x", "x]", "a ( b", "f()", "[]", "{a", "a}", "}{", "(a [b",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_text_stays_text(text: str) -> None:
    read = parse_prompts(text)[0]
    assert (read.weight, read.stop, read.fragments) == (1.0, -math.inf, ())
    assert read.text == text


WEIGHED = [
    ("a cat:2", "a cat", 2.0), ("a cat : 2", "a cat", 2.0), ("a cat :2", "a cat", 2.0), ("a cat:1.5e0", "a cat", 1.5),
    ("a cat:1e-1", "a cat", 0.1), ("a cat: 1.5", "a cat", 1.5), ("a cat:+2", "a cat", 2.0), ("a cat:.5", "a cat", 0.5),
    ("a cat:100", "a cat", 100.0), ("ein Fuß im Schnee:1", "ein Fuß im Schnee", 1.0), ("心:2", "心", 2.0),
    ("wow!:2", "wow!", 2.0), ("🐱:2", "🐱", 2.0), ("https://example.org/a.png:2", "https://example.org/a.png", 2.0),
    ("Alien: the movie:2", "Alien: the movie", 2.0), ("(a cat):2", "a cat", 2.0),
    # either reading can be forced
    (r"John 3\:16", "John 3:16", 1.0), (r"John 3\:16:2", "John 3:16", 2.0), (r"a cat\:2", "a cat:2", 1.0),
    ('"John 3:16":2', "John 3:16", 2.0), ('"R2-D2":2', "R2-D2", 2.0), ('"a | b":2', "a | b", 2.0),
    (r"a\|b", "a|b", 1.0), (r"\(a\)", "(a)", 1.0), (r"\[a\] \{b\}", "[a] {b}", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("written", "text", "weight"), WEIGHED)
def test_what_is_clearly_a_weight_weighs(written: str, text: str, weight: float) -> None:
    (read,) = parse_prompts(written)
    assert (read.text, read.weight, read.stop) == (text, weight, -math.inf)


def test_parts_have_weights_and_stops() -> None:
    assert parse_prompts("a heart:2:0.5") == (Prompt("a heart", 2.0, 0.5),)
    assert parse_prompts("a cat : 2.5 : .3") == (Prompt("a cat", 2.5, 0.3),)
    assert parse_prompts("a red heart:2 | fog:-1") == (Prompt("a red heart", 2.0), Prompt("fog", -1.0))
    assert parse_prompts("a|b|c") == (Prompt("a"), Prompt("b"), Prompt("c"))
    assert parse_prompts("John 3:16 | fog:-1") == (Prompt("John 3:16"), Prompt("fog", -1.0))
    assert parse_prompts("a cat: 2 | fog: -1") == (Prompt("a cat", 2.0), Prompt("fog", -1.0))


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("a cat |", "empty part"),
        ("| a cat", "empty part"),
        ("", "empty part"),
        ('"":2', "no text"),
        ("a cat:-1", "nothing to draw"),
        ("a cat:0", "nothing to draw"),
        ("|".join("abcdefghijklmnopq"), "at most 16"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_part_and_what_is_allowed(written: str, says: str) -> None:
    with pytest.raises(PromptError, match=says):
        parse_prompts(written)


EMPHASIS = [
    ("a (red:1.3) car", "a red car", [("red", 1.3)]),
    ("a (red) car", "a red car", [("red", 1.1)]),
    ("a [red] car", "a red car", [("red", 1 / 1.1)]),
    ("a ((red)) car", "a red car", [("red", 1.1 * 1.1)]),
    ("a [(red:1.5)] car", "a red car", [("red", 1 / 1.1 * 1.5)]),
    ("(a (red:1.5) car:0.5)", "a red car", [("a ", 0.5), ("red", 0.75), (" car", 0.5)]),
    ("(a cat: 1.3 )", "a cat", [("a cat", 1.3)]),
    ("a cat (sleeping)", "a cat sleeping", [("sleeping", 1.1)]),
    ("(R2-D2:1.3) walks", "R2-D2 walks", [("R2-D2", 1.3)]),
    ("a poster (16:9)", "a poster 16:9", [("16:9", 1.1)]),
    ("(John 3:16) on a wall", "John 3:16 on a wall", [("John 3:16", 1.1)]),
    (r"a \(big\) (cat:2)", "a (big) cat", [("cat", 2.0)]),
    (r"(\(cat\):1.2)", "(cat)", [("(cat)", 1.2)]),
    ("(unbalanced (cat:1.2)", "(unbalanced cat", [("cat", 1.2)]),
    ("a cat) (dog:1.2)", "a cat) dog", [("dog", 1.2)]),
    ("(pre:1.2)fix", "pre fix", [("pre", 1.2)]),
    ("(nothing:0) here", "nothing here", [("nothing", 0.0)]),
    ("fog (deep:-0.5)", "fog deep", [("deep", -0.5)]),
]  # fmt: skip


@pytest.mark.parametrize(("written", "text", "weights"), EMPHASIS)
def test_brackets_weigh_words_and_are_not_read(written: str, text: str, weights: list[tuple[str, float]]) -> None:
    (read,) = parse_prompts(written)
    assert read.text == text and "".join(read.pieces) == text and read.weight == 1
    assert [piece for piece, weight in read.fragments if weight != 1] == [piece for piece, _ in weights]
    assert [w for _, w in read.fragments if w != 1] == pytest.approx([w for _, w in weights])


@pytest.mark.parametrize("written", ["(a cat:1)", "a (cat:1.0)", "(a:1) (cat:1)", r"a cat"])
def test_a_weight_of_one_is_no_notation_at_all(written: str) -> None:
    assert parse_prompts(written) == parse_prompts("a cat")


@pytest.mark.parametrize(
    ("prompts", "words", "becomes"),
    [
        ("a tree:2 | fog:-1", "in oil", "a tree,in oil:2 | fog:-1"),
        ("John 3:16", "in oil", "John 3:16,in oil"),
        ("a tree:2:0.5", "in oil", "a tree,in oil:2:0.5"),
        ("a tree:2", "of 1980", '"a tree,of 1980":2'),
        ("a tree", "noir:2", '"a tree,noir:2":1'),
        ('"R2-D2":2', "in oil", '"R2-D2,in oil":2'),
        ("a tree", "oil|ink", "a tree,oil,ink"),
        ("a (tree:1.2):2", "in oil", "a (tree:1.2),in oil:2"),
        ("{a|b} tree:2", "in oil", "{a|b} tree,in oil:2"),
    ],
)
def test_words_are_added_to_the_text_and_change_no_weight(prompts: str, words: str, becomes: str) -> None:
    made = append_words(prompts, words)
    assert made == becomes
    before, after = parse_prompts(prompts), parse_prompts(made)
    assert [(p.weight, p.stop) for p in before] == [(p.weight, p.stop) for p in after]


@pytest.mark.parametrize("text", [*TEXTS, "img 2", "a|b", "x:2", "a (b:1.2) c", 'he said "x:2"'])
def test_whatever_a_program_weighs_is_read_as_that_text_and_weight(text: str) -> None:
    (_, read) = parse_prompts(f"a cat | {weighed(text, -1)}")
    assert read.weight == -1 and read.text.replace("'", '"') == parse_text(text).text


def test_a_bar_between_braces_or_quotes_parts_nothing() -> None:
    assert split('{a|{b|c}} car | "d|e":2 | f') == ["{a|{b|c}} car", '"d|e":2', "f"]
    assert split("{a | b") == ["{a", "b"]
    assert split(r"a\|b | c") == [r"a\|b", "c"]


@pytest.mark.parametrize(
    ("written", "stages"),
    [
        ("0: a castle | 100: a ruin", [(0, "a castle"), (100, "a ruin")]),
        ("0:a castle:2 | fog:-1 | 100:a ruin", [(0, "a castle:2 | fog:-1"), (100, "a ruin")]),
        ("0: 3 cats | 50: 4 dogs", [(0, "3 cats"), (50, "4 dogs")]),
        ("0: a castle | 10:30 at night", [(0, "a castle | 10:30 at night")]),
        ("0: a castle | 2001: a space odyssey", [(0, "a castle | 2001: a space odyssey")]),
        (r"0: a castle | 50\: the fifties", [(0, r"a castle | 50\: the fifties")]),
        ("2001: a space odyssey", [(0, "2001: a space odyssey")]),
        ("101: dalmatians | 7: the sins", [(0, "101: dalmatians | 7: the sins")]),
        ("16:9 poster | a cat:2", [(0, "16:9 poster | a cat:2")]),
        ("a castle | 100: a ruin", [(0, "a castle | 100: a ruin")]),
    ],
)
def test_only_prompts_that_begin_with_step_0_have_stages(written: str, stages: list[tuple[int, str]]) -> None:
    assert parse_stages(written) == tuple(Stage(*stage) for stage in stages)


def test_what_looks_like_a_stage_is_told() -> None:
    assert looks_like_stage("a castle | 100: a ruin") == ("100: a ruin", 100)
    assert looks_like_stage("0: a castle | 100: a ruin") is None
    assert looks_like_stage("a castle | 10:30") is None
    with pytest.raises(PromptError, match=r"does not come after step 100.*50\\:"):
        parse_stages("0: a | 100: b | 50: c")


NAMES = [
    "a.png",
    "photo 3:4.png",
    "C:\\pictures\\a.png",
    "a|b.png",
    "x:3",
    "x:2:3",
    "photo (1).png",
    "a:b|c:4",
    "[1].png",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_can_be_named_and_weighed(name: str) -> None:
    assert parse_pictures(quoted(name)) == (Prompt(name),)
    assert parse_pictures(f'"{name}":2:0.5 | b.png:-1') == (Prompt(name, 2.0, 0.5), Prompt("b.png", -1.0))


@pytest.mark.parametrize("name", ["a.png", "photo 3:4.png", "C:\\pictures\\a.png", "photo (1).png", "a.jp2"])
def test_most_names_need_no_quotes(name: str) -> None:
    assert quoted(name) == name
    assert parse_pictures(f"{name}:2") == (Prompt(name, 2.0),)
    assert parse_pictures(f"{name}:-1", negative_only=True) == (Prompt(name, -1.0),)


def test_a_file_of_this_machine_needs_no_quotes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a|b.png", "x:3", "c.png"):
        (tmp_path / name).touch()
    assert parse_pictures(with_files("a|b.png")) == (Prompt("a|b.png"),)
    assert parse_pictures(with_files("a|b.png:2:0.5")) == (Prompt("a|b.png", 2.0, 0.5),)
    assert parse_pictures(with_files("x:3 | c.png:2")) == (Prompt("x:3"), Prompt("c.png", 2.0))
    assert with_files("none.png:2 | c.png") == "none.png:2 | c.png"
