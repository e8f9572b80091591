"""What people type is told to the embedded models in the words of their training data, and what they do not know is
said before anything is queued."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from generator import generate, registry
from generator.__main__ import main
from generator.output.metadata import read_metadata
from generator.params import BadParams, validate
from generator.training.validation_prompts import PROMPTS
from generator.wording import likenesses, understand
from generator.wording.emoji import name_emoji
from generator.wording.known_words import is_known, unknown_words
from generator.wording.languages import translate
from generator.wording.scenes import names, read_scene
from generator.wording.style_words import PHRASES, read_style
from tests import small_engine

ORDINARY = (Path(__file__).parent / "data" / "ordinary_prompts.txt").read_text().splitlines()


def read(prompt: str, engine: str = "vqgan-clip", **values: Any) -> Any:
    return understand(engine, {"prompt": prompt, **values})


@pytest.mark.parametrize(
    ("typed", "became"),
    [
        ("🐱", "cat face"),
        ("🐶", "dog face"),
        ("❤️", "red heart"),
        ("❤", "red heart"),
        ("🚀", "rocket"),
        ("a 🐱 on a 🛹", "a cat face on a skateboard"),
        ("a 🐙", "an octopus"),
        ("a red 🍎.", "a red apple."),
        ("👍🏽", "thumbs up"),
        ("🧑🏾‍🚀", "astronaut"),
        ("👩🏻‍🤝‍👨🏿", "woman and man holding hands"),
        ("👨‍👩‍👧‍👦", "family man, woman, girl, boy"),
        ("🐻‍🔥", "bear fire"),
        ("🏳️‍🌈", "rainbow flag"),
        ("🇪🇸", "flag of spain"),
        ("🏴󠁧󠁢󠁳󠁣󠁴󠁿", "flag of scotland"),
        ("5️⃣", "keycap 5"),
        ("\U0001faea", "distorted face"),  # of Unicode 17, which Python 3.11 does not have
        ("🐱🐶", "cat face and dog face"),
        ("❤️❤️❤️", "red heart"),
        ("a cat 🐱", "a cat"),
        ("a cat | 🐱:-1", "a cat | cat face:-1"),
        ("(🐱:1.3)", "(cat face:1.3)"),
        ("a Lego™ castle", "a Lego™ castle"),
        ("10:30 * 5 # 2", "10:30 * 5 # 2"),
    ],
)
def test_emoji_are_read_by_the_names_they_have_in_the_training_data(typed: str, became: str) -> None:
    assert name_emoji(typed).text == became


def test_an_emoji_without_a_name_is_named_as_unknown_and_stays() -> None:
    made = read("a \U0001faff")  # no Unicode has it yet
    assert made.values["prompt"] == "a \U0001faff" and "no name for \U0001faff" in str(made.notices[0])


def test_what_was_typed_and_how_it_was_read_is_kept_with_the_picture() -> None:
    params = validate("vqgan-clip", read("una silueta de un 🐱").values)
    assert (params.prompt, params.style) == ("a cat face", "silhouette")
    worded = params.wording["prompt"]
    assert worded.typed == "una silueta de un 🐱" and worded.became == "a cat face"
    assert worded.choices == ("language: Spanish", "🐱: cat face", "style: silhouette (silhouette)")
    assert understand("vqgan-clip", params.model_dump()).values["prompt"] == "a cat face", "and is not read again"


@pytest.mark.parametrize(
    "values",
    [
        {"as_typed": True},
        {"checkpoint": "imagenet-f16-1024"},  # OpenAI's CLIPs know emoji
        {"checkpoint": "imagenet-f16-1024", "clip": ("RN50",)},
    ],
)
def test_who_wants_it_as_typed_or_draws_with_published_models_has_it_as_typed(values: dict[str, Any]) -> None:
    assert read("una silueta de un 🐱", **values).values["prompt"] == "una silueta de un 🐱"


def test_a_published_generator_guided_by_an_embedded_clip_reads_names() -> None:
    assert read("🐱", checkpoint="imagenet-f16-1024", clip=("mini", "RN50")).values["prompt"] == "cat face"


@pytest.mark.parametrize(
    ("typed", "style", "left"),
    [
        ("a silhouette of an eagle", "silhouette", "an eagle"),
        ("line art giraffe", "silhouette", "giraffe"),
        ("outline drawing of a fox", "silhouette", "a fox"),
        ("black and white icon of a bus", "silhouette", "a bus"),
        ("an eagle in silhouette", "silhouette", "an eagle"),
        ("an owl, silhouette", "silhouette", "an owl"),
        ("twemoji of a laughing face", "twemoji", "a laughing face"),
        ("a cat in the style of twemoji", "twemoji", "a cat"),
        ("a sticker of a cat", "twemoji", "a cat"),
        ("a 3d render of a cat", "3d", "a cat"),
        ("a glossy 3d heart", "3d", "a heart"),
        ("a 3D apple", "3d", "an apple"),
        ("a flat icon of a house", "fluent", "a house"),
        ("a house, flat design, blue", "fluent", "a house, blue"),
        ("noto emoji of a dog", "noto", "a dog"),
        ("blob emoji cat", "blob", "cat"),
        ("firefox emoji of a bear", "fx", "a bear"),
        ("a red heart:2 | a silhouette of fog:-1", None, None),
        ("silhouette", "silhouette", "silhouette"),
        ("a minimalist line art of a face", "silhouette", "a face"),
        ("a cute 3d cat", "3d", "a cute cat"),
        ("a woman's silhouette", "silhouette", "a woman"),
        ("(silhouette:1.3) of a (cat:1.2)", "silhouette", "a (cat:1.2)"),
        ("((line art)) giraffe", "silhouette", "giraffe"),
        ("Silhouette: a cat", "silhouette", "a cat"),
        ("a cat, style: silhouette", "silhouette", "a cat"),
        ("black and white line art of a cat", "silhouette", "a cat"),
        ("the outline of a car", "silhouette", "a car"),
        ("a fluent 3d icon of a house", "3d", "a house"),
        ("an eagle silhouette:2 | fog:-1", "silhouette", "an eagle:2 | fog:-1"),
    ],
)
def test_style_words_choose_the_style_where_none_was_chosen(typed: str, style: str | None, left: str | None) -> None:
    made = read(typed).values
    assert made.get("style") == style and made["prompt"] == (left or typed)
    for chosen in ("fx", None):
        kept = read(typed, style=chosen).values
        assert (kept["style"], kept["prompt"]) == (chosen, typed), "what was chosen wins, any style too"


def test_every_style_has_words_and_no_other_is_named() -> None:
    assert set(PHRASES) == set(registry.STYLES)


@pytest.mark.parametrize(
    "prompt",
    [
        "a flat tyre",
        "a fluent speaker",
        "a 3d printer",
        "a 3d-printed vase",
        "a man with 3d glasses",
        "a line of art students",
        "a black and white cat",
        "Noto in Sicily",
        "a blob of paint",
        "a laptop with a sticker of a cat",
        "the twitter logo",
        "glossy lips",
        "not a silhouette",
        "a silhouette and a 3d render of a cat",
        "pixel art of a dragon",
        "a line drawing class",
        "line art:1.5 giraffe",
    ],
)
def test_words_that_may_mean_something_else_choose_no_style(prompt: str) -> None:
    assert read_style(prompt).style is None and read_style(prompt).text == prompt


@pytest.mark.parametrize(
    ("typed", "language", "english"),
    [
        ("un corazón rojo", "Spanish", "a red heart"),
        ("UN CORAZON ROJO", "Spanish", "a red heart"),
        ("corazones rojos", "Spanish", "red hearts"),
        ("gato", "Spanish", "cat"),
        ("coche azul", "Spanish", "blue car"),
        ("dos gatos negros en una casa roja", "Spanish", "two black cats in a red house"),
        ("un gato negro y blanco", "Spanish", "a black and white cat"),
        ("una tarta de cumpleaños", "Spanish", "a birthday cake"),
        ("piña", "Spanish", "pineapple"),
        ("un gato:2 | niebla:-1", "Spanish", "a cat:2 | fog:-1"),
        ("un gato programador", "Spanish", "a cat programador"),
        ("bihotz gorria", "Basque", "red heart"),
        ("bihotz gorri bat", "Basque", "a red heart"),
        ("katu bat", "Basque", "a cat"),
        ("txakurrak", "Basque", "dogs"),
        ("katu beltz bat etxe gorri batean", "Basque", "a black cat in a red house"),
        ("txapela duen katu bat", "Basque", "a cat with hat"),
        ("katu bat mahai gainean", "Basque", "a cat on table"),
        ("katu-aurpegia", "Basque", "cat face"),
        ("a red heart", None, "a red heart"),
        ("taco", None, "taco"),
        ("Mona Lisa", None, "Mona Lisa"),
        ("los angeles at night", None, "los angeles at night"),
        ("un chat rouge", None, "un chat rouge"),
        ("mesa", "Spanish", "table"),
        ("un violín", "Spanish", "a violin"),
        ("un piano", "Spanish", "a piano"),
        ("un color rojo", "Spanish", "a red color"),
        ("a la playa", "Spanish", "to the beach"),
        ("el gato no tiene sombrero", "Spanish", "the cat has no hat"),
        ("un perro sin cola", "Spanish", "a dog without tail"),
        ("hotel gorria", "Basque", "red hotel"),
        ("a cat, un perro", "Spanish", "a cat, a dog"),
        ("a cat and un perro rojo", "Spanish", "a cat and a red dog"),
        ("un gato and a dog", "Spanish", "a cat and a dog"),
        ("una casa with a red door", "Spanish", "a house with a red door"),
        ("un gato en New York", "Spanish", "a cat in New York"),
        ("mesa con skateboard", "Spanish", "table with skateboard"),
        ("a café with un perro", "Spanish", "a café with a dog"),
        ("a unicorn (perro:1.3) in la casa roja", "Spanish", "a unicorn (dog:1.3) in the red house"),
        ("a bat on mendi", "Basque", "a bat on mountain"),
        ("katu bat on a table", "Basque", "a cat on a table"),
    ],
)
def test_spanish_and_basque_are_read_in_english(typed: str, language: str | None, english: str) -> None:
    made = translate(typed)
    assert (made.language, made.text) == (language, english)


@pytest.mark.parametrize(
    "prompt",
    [
        *("a mesa in the desert", "a taxi in the sol", "a red mesa", "red sol", "a café at night", "no son con hat"),
        *("a sombrero on a cactus", "a fiesta with lights", "Medusa with snakes", "alto saxophone", "a bale of hay"),
        *("tartan", "a tartan kilt", "a bengal tiger", "a pika on a rock", "luna moth", "a hat, a bat, an era"),
        *("hotel bat", "once upon a time", "a pan of chocolate", "a piano and a violin", "a cat <lora:loro:0.8>"),
    ],
)
def test_english_stays_english_though_a_word_of_it_is_spanish_or_basque_too(prompt: str) -> None:
    assert translate(prompt).text == prompt and translate(prompt).language is None


@pytest.mark.parametrize("prompt", ["赤いハート", "красное сердце", "Schmetterlingsflügel überm Gänseblümchen"])
def test_what_is_clearly_not_english_is_told_to_write_in_english(prompt: str) -> None:
    assert any("Write in English" in str(notice) for notice in read(prompt).notices)


@pytest.mark.parametrize(
    ("typed", "became"),
    [
        ("a spaceship taking off", "a rocket taking off"),
        ("An antelope", "A deer"),
        ("an ape in the snow", "a gorilla in the snow"),
        ("three walruses", "three seals"),
        ("a sleepy kitten", "a sleepy cat"),
        ("a cup of hot coffee", "a hot beverage"),
        ("a wolf and a (squirrel:1.3) | a raven:-1", "a wolf and a (chipmunk:1.3) | a black bird:-1"),
        ("a sock", "socks"),
        ("an oak tree", "a deciduous tree"),
        ("un esqueleto", "a skull"),
    ],
)
def test_what_the_models_never_saw_is_drawn_as_what_looks_most_like_it(typed: str, became: str) -> None:
    made = read(typed)
    assert made.values["prompt"] == became and f"Read as: {became}" in [str(notice) for notice in made.notices]
    assert read(typed, as_typed=True).values["prompt"] == typed
    assert read(typed, checkpoint="imagenet-f16-1024").values["prompt"] == typed, "OpenAI's CLIPs know them"


@pytest.mark.parametrize(
    "typed",
    [
        *("a palm tree", "a king penguin", "a king's crown", "a wizard hat", "a teddy bear", "spider-man", "a cat"),
        *("sunflowers by van gogh", "king arthur", "an emerald green dress", "a giant red apple"),
    ],
)
def test_a_word_stays_where_it_is_part_of_another_name(typed: str) -> None:
    assert read(typed).values["prompt"] == typed


def test_a_likeness_is_a_name_that_pictures_have_and_is_read_as_itself() -> None:
    for word, name in likenesses.table().items():
        assert unknown_words(name) == [], word
        assert likenesses.liken(name).text == name, word
        assert word not in names(), word
        assert read_scene(f"a {name}") is None, word


def test_words_the_model_does_not_know_are_named() -> None:
    (notice,) = read("a quokka riding on a unicycle").notices
    assert "“quokka”, “unicycle”" in str(notice) and "riding" not in str(notice)
    assert unknown_words("cats running, happier children's houses; the biggest wolves") == []
    assert all(map(is_known, ("cats", "running", "4k", "twemoji", "colour", "color", "piñata", "half-open")))


def test_no_notice_cries_wolf() -> None:
    assert [prompt for prompt in PROMPTS if read(prompt).notices] == []
    assert [prompt for prompt in ORDINARY if translate(prompt).language] == []
    named = [prompt for prompt in ORDINARY if unknown_words(read(prompt).values["prompt"])]
    assert len(ORDINARY) >= 200 and len(named) <= 0.08 * len(ORDINARY), named


def test_emoji_newer_than_the_interpreter_are_taken_and_noncharacters_are_not() -> None:
    assert validate("vqgan-clip", {"prompt": "a \U0001faea \U0001fbff"}).prompt == "a \U0001faea \U0001fbff"
    for bad in ("\ufdd0", "\uffff", "\U0010fffe", "\x00", "\x1b", "\ud800"):
        with pytest.raises(BadParams, match=f"U\\+{ord(bad):04X}"):
            validate("vqgan-clip", {"prompt": f"a {bad}"})


def test_the_command_line_says_on_stderr_what_it_reads_and_what_it_does_not_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.ENGINES, small_engine.NAME, small_engine.SPEC)
    flags = ["--engine", "small", "--output-dir", str(tmp_path), "--device", "cpu", "--upscale", "1", "--steps", "2"]
    assert main(["una silueta de un quokka 🐱", *flags, "--seed", "1"]) == 0
    said = capsys.readouterr().err
    assert "Read as: a quokka cat face. Style, from the words: Silhouette." in said and "“quokka”" in said
    (file,) = tmp_path.glob("*.png")
    _engine, params = read_metadata(file.read_bytes())
    assert params.style == "silhouette" and params.wording["prompt"].typed == "una silueta de un quokka 🐱"
    assert main(["un gato", *flags, "--seed", "2", "--as-typed"]) == 0
    assert "Read as" not in capsys.readouterr().err


def test_the_library_warns_of_words_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ENGINES, small_engine.NAME, small_engine.SPEC)
    with pytest.warns(UserWarning, match="“quokka”"):
        generate("a quokka", "small", steps=1, upscale=1, seed=1)


def test_the_examples_in_the_docs_are_read_as_they_say() -> None:
    text = (Path(__file__).parents[2] / "docs" / "words.md").read_text()
    examples = re.findall(r"^\| `(.+)` \| (.+?) \| (.*?) ?\|$", text, re.MULTILINE)
    assert len(examples) == 11
    for typed, became, said in examples:
        made = read(typed).values
        assert made["prompt"] == became
        if said.startswith("style "):
            assert registry.STYLES[made["style"]] == said.removeprefix("style ")
