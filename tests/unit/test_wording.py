"""What is typed is understood once for each picture, and what became of it is kept with the picture."""

from __future__ import annotations

import pytest

from generator.params import validate
from generator.wording import Notice, understand, understanding
from generator.wording.reading import Reading


def loud(reading: Reading) -> Reading:
    for name, text in reading.texts.items():
        reading = reading.reads(name, f"{text}!", f"loud: {text}").says(Notice("{name} is loud.", name=name))
    return reading


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One understanding that would be seen twice if it were applied twice."""
    monkeypatch.setattr(understanding, "UNDERSTANDINGS", (loud,))


def test_what_needs_no_understanding_is_given_on_as_it_is() -> None:
    values = {"prompt": "a cat", "seed": 1}
    assert understand("vqgan-clip", values) == understanding.Understood(values)
    assert "wording" not in validate("vqgan-clip", values).model_dump()


@pytest.mark.usefixtures("counted")
def test_what_was_typed_is_kept_and_said() -> None:
    read = understand("latent-diffusion", {"prompt": "a cat", "negative_prompt": "fog", "seed": 1})
    assert read.values["prompt"] == "a cat!" and read.values["negative_prompt"] == "fog!"
    assert [str(one) for one in read.notices] == ["prompt is loud.", "negative_prompt is loud."]
    params = validate("latent-diffusion", read.values)
    assert params.wording["prompt"].typed == "a cat" and params.wording["prompt"].choices == ("loud: a cat",)


@pytest.mark.usefixtures("counted")
def test_what_is_repeated_is_not_understood_again() -> None:
    once = understand("vqgan-clip", {"prompt": "a cat"}).values
    assert understand("vqgan-clip", once).values == once
    saved = validate("vqgan-clip", once).model_dump(mode="json")
    assert understand("vqgan-clip", saved).values == saved
    old = {"prompt": "a cat"}  # of a time when nothing was understood
    assert understand("vqgan-clip", old, repeats=old).values == old


@pytest.mark.usefixtures("counted")
def test_another_text_in_the_settings_of_a_finished_picture_is_understood() -> None:
    once = understand("vqgan-clip", {"prompt": "a cat"}).values
    again = understand("vqgan-clip", {**once, "prompt": "a dog"}, repeats=once).values
    assert again["prompt"] == "a dog!" and again["wording"]["prompt"]["typed"] == "a dog"
