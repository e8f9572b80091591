"""`{red|blue} car` and `__animal__`: drawn for each picture by its seed, recorded with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from generator.params import BadParams, validate
from generator.wording import Sources, Understood, choices, common, outcomes, understand
from generator.wording.word_lists import WordLists


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    folder = tmp_path / "wildcards"
    (folder / "sea").mkdir(parents=True)
    (folder / "animal.txt").write_text("# what can be drawn\n\ncat\ndog\n  __sea/fish__  \n", encoding="utf-8")
    (folder / "sea" / "fish.txt").write_text("\ufeffcarp\n{red|blue} shark\n", encoding="utf-8")
    (folder / "loop.txt").write_text("a __loop__\n")
    (folder / "empty.txt").write_text("# nothing\n")
    (folder / "rare.txt").write_text("0::never\n5::always\n")
    (tmp_path / "secret.txt").write_text("secret\n")
    return folder


def read(text: str, seed: int | None = 1, folder: Path | None = None, **more: Any) -> Understood:
    values = {"prompt": text, **more} if seed is None else {"prompt": text, "seed": seed, **more}
    return understand("latent-diffusion", values, Sources(folder or Path("nowhere")))


def drawn(text: str, folder: Path | None = None, seeds: int = 60) -> set[str]:
    return {read(text, seed, folder).values["prompt"] for seed in range(seeds)}


@pytest.mark.parametrize(
    ("template", "texts"),
    [
        ("a {red|blue} car", {"a red car", "a blue car"}),
        ("a {red|{light|dark} blue} car", {"a red car", "a light blue car", "a dark blue car"}),
        ("a {|red} car", {"a car", "a red car"}),
        ("a {0::red|blue} car", {"a blue car"}),
        ("{2$$a|b}", {"a, b", "b, a"}),
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("{0-1$$a|b} car", {"car", "a car", "b car"}),
        ("{a|b} | {c:2|d:2}", {f"{x} | {y}:2" for x in "ab" for y in "cd"}),
        ("({red|blue}:1.3) car", {"(red:1.3) car", "(blue:1.3) car"}),
        # text stays text
        ("a {red} car", {"a {red} car"}),
        ("f() { return }", {"f() { return }"}),
        ("a {red car", {"a {red car"}),
        (r"a \{red|blue\} car", {r"a \{red|blue\} car"}),
        ("John 3:16", {"John 3:16"}),
        ("def __init__(self)", {"def __init__(self)"}),
        ("__init__.py and __main__", {"__init__.py and __main__"}),
        ("snake__case__name", {"snake__case__name"}),
        ("a __nothing__ here", {"a __nothing__ here"}),
    ],
)
def test_what_is_drawn_of_what_is_written(template: str, texts: set[str]) -> None:
    assert drawn(template) == texts


def test_lines_of_the_hosts_lists(lists: Path) -> None:
    assert drawn("an __animal__.", lists) == {f"an {one}." for one in ("cat", "dog", "carp", "red shark", "blue shark")}
    assert drawn("__Sea/Fish__", lists, 20) == {"carp", "red shark", "blue shark"}
    assert drawn("__rare__", lists, 20) == {"always"}
    assert drawn("def __init__(self)", lists, 2) == {"def __init__(self)"}
    assert drawn(r"\__animal__", lists, 2) == {r"\__animal__"}


def test_the_same_seed_draws_the_same_and_nothing_else_counts(lists: Path) -> None:
    text = "a {red|green|blue|grey|pink} __animal__"
    for seed in range(20):
        (first,) = {
            read(text, seed, lists, steps=steps, negative_prompt="x").values["prompt"] for steps in (10, 20)
        } | {read(text, seed, lists).values["prompt"]}
        assert first
    assert len(drawn(text, lists)) > 10


def test_a_seed_is_drawn_where_none_is_given() -> None:
    values = read("{red|blue} car", None).values
    assert read("{red|blue} car", values["seed"]).values["prompt"] == values["prompt"]
    assert "seed" not in read("a red car", None).values


def test_every_choice_is_recorded_with_what_was_typed(lists: Path) -> None:
    made = read("{2::red|blue} __sea/fish__", 3, lists, negative_prompt="{fog|rain}").values
    params = validate("latent-diffusion", made)
    said, avoided = params.wording["prompt"], params.wording["negative_prompt"]
    assert said.typed == "{2::red|blue} __sea/fish__" and said.became == params.prompt
    assert said.choices[0] in ("{2::red|blue}: red", "{2::red|blue}: blue")
    assert said.choices[-1].startswith("sea/fish: ")
    assert avoided.typed == "{fog|rain}" and avoided.choices == (f"{{fog|rain}}: {avoided.became}",)
    assert understand("latent-diffusion", params.model_dump(), Sources(lists)).values == params.model_dump()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a __anmal__", "Unknown word list 'anmal'. There are: animal, empty, loop, rare, sea/fish"),
        ("a __sea/../../secret__", "text"),
        ("a __../secret__", "text"),
        ("a __/etc/passwd__", "text"),
        ("a __loop__", "names itself"),
        ("a __empty__", "is empty"),
    ],
)
def test_a_list_that_cannot_be_drawn_from_is_told_and_no_name_leads_out_of_the_folder(
    text: str, says: str, lists: Path
) -> None:
    if says == "text":
        assert "secret" not in WordLists(lists).names and drawn(text, lists, 3) == {text}
        return
    with pytest.raises(BadParams, match=says):
        read(text, 1, lists)


def test_where_there_are_no_lists_it_is_said_that_a_name_is_text() -> None:
    (notice,) = read("a __nothing__ here").notices
    assert "__nothing__ is read as it is written" in str(notice)
    assert not any("__init__" in str(notice) for notice in read("def __init__(self)").notices)


def test_what_draws_without_end_is_refused() -> None:
    with pytest.raises(BadParams, match="draws too much"):
        read("{a|b}" * 300)


def test_what_pictures_of_one_template_have_in_common() -> None:
    assert common("a {red|blue} car of an __animal__ {x}") == "a car of an {x}"
    assert common("{red|blue}") == ""


def test_what_looks_like_a_stage_in_a_prompt_without_stages_is_told() -> None:
    values = {"prompt": "a castle | 100: a ruin"}
    (notice,) = understand("guided-diffusion", values).notices
    assert "“100: a ruin” is read as text" in str(notice) and "step 100" in str(notice)
    assert not understand("vqgan-clip", values).notices


@pytest.mark.parametrize(
    ("prompt", "choice"),
    [
        ("a [red|blue] car", "{red|blue}"),
        ("a (red|blue:1.2) car", "({red|blue}:1.2)"),
        ("(a cat | a dog)", "{a cat | a dog}"),
        ("a {red|blue} car", None),
        ("a (cat) | a [dog]", None),
        (r"a [red\|blue] car", None),
        ("[red:blue:0.5] car", None),
    ],
)
def test_what_elsewhere_takes_turns_is_told_to_be_parts(prompt: str, choice: str | None) -> None:
    said = [str(one) for one in understand("latent-diffusion", {"prompt": prompt, "seed": 1}).notices]
    told = [one for one in said if "is cut at its |" in one]
    assert len(told) == (choice is not None) and all(one.endswith(f"write {choice}.") for one in told)


def test_lists_with_names_of_one_letter_are_told_apart(tmp_path: Path) -> None:
    for name in "ac":
        (tmp_path / f"{name}.txt").write_text(f"the {name}")
    made = understand("latent-diffusion", {"prompt": "__a__ b __c__", "seed": 1}, Sources(tmp_path))
    assert made.values["prompt"] == "the a b the c"


@pytest.mark.parametrize(
    ("template", "texts"),
    [
        ("a {red|blue} {car|{big|small} house}", ["a red car", "a red big house", "a red small house", "a blue car"]),
        ("{2$$ and $$a|b|c}", ["a and b", "a and c", "b and c"]),
        ("{3::a|0::b|c} |x", ["a |x", "c |x"]),
        ("an __animal__", ["an cat", "an dog", "an carp", "an red shark"]),
        (r"f() { return } \{a|b\}", [r"f() { return } \{a|b\}"]),
    ],
)
def test_all_that_a_prompt_may_become_is_told_in_order(template: str, texts: list[str], lists: Path) -> None:
    assert outcomes(template, Sources(lists), 4) == texts


def test_the_choices_of_a_prompt_are_called_as_they_are_written(lists: Path) -> None:
    found = choices("a {red|{light|dark} blue} __animal__, __sea/fish__ {x}", Sources(lists), 9)
    assert found == {
        "{red|{light|dark} blue}": ["red", "{light|dark} blue"],
        "__animal__": ["cat", "dog", "__sea/fish__"],
        "__sea/fish__": ["carp", "{red|blue} shark"],
    }


def test_what_may_become_too_much_or_is_not_there_is_said(lists: Path) -> None:
    assert len(outcomes("{a|b}" * 40, Sources(lists), 49)) == 49
    with pytest.raises(BadParams, match="names itself"):
        outcomes("__loop__", Sources(lists), 49)
    with pytest.raises(BadParams, match="Unknown word list 'anmal'"):
        choices("an __anmal__", Sources(lists), 49)
