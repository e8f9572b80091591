"""A text that CLIP would not read to its end is refused when it is asked for, with the words that fall off."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from generator.params import BadParams, validate, validate_job
from generator.tokens import encode

FULL = " ".join(["word"] * 75)
REAL = "guided-diffusion-256"
OFF = "tokens, 75 fit; these words fall off its end: “"


@pytest.mark.parametrize(
    ("engine", "values", "says"),
    [
        ("vqgan-clip", {"prompt": f"{FULL} pear plum"}, f"The prompt has 77 {OFF}pear plum”."),
        ("biggan-clip", {"prompt": f"a cat | {FULL} pear:-1"}, f"The prompt has 76 {OFF}pear”."),
        ("latent-diffusion", {"prompt": f"({FULL}:1.2) (pear:1.1)"}, f"The prompt has 76 {OFF}pear”."),
        ("latent-diffusion", {"negative_prompt": f"{FULL} pear"}, f"The negative prompt has 76 {OFF}pear”."),
        ("guided-diffusion", {"prompt": f"0: a cat | 9: {FULL} pear"}, f"The prompt from step 9 on has 76 {OFF}pear”."),
        (
            "guided-diffusion",
            {"checkpoint": REAL, "prompt": FULL, "style": "oil"},
            f"The prompt with the words of style and artist has 77 {OFF}word,oil”.",
        ),
        ("vqgan-clip", {"prompt": "🐱" * 90}, "The prompt has"),
        ("vqgan-clip", {"prompt": "猫" * 200}, "these words fall off its end: “猫"),
        ("vqgan-clip", {"prompt": "? ! " * 60}, "fall off its end"),
    ],
)
def test_the_sentence_names_the_text_the_count_and_what_falls_off(
    engine: str, values: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadParams) as refused:
        validate(engine, {"prompt": "a cat", **values})
    assert says in str(refused.value)


def test_what_fits_is_drawn() -> None:
    assert len(encode(FULL)) == 75
    for prompt in (FULL, f"({FULL}:1.3)", f"{FULL}:2 | {FULL}:-1", f"{FULL} | a cat"):
        assert validate("vqgan-clip", {"prompt": prompt}).prompt == prompt
    assert validate("latent-diffusion", {"prompt": "a cat", "negative_prompt": FULL})


def test_a_ranking_is_told_as_well() -> None:
    with pytest.raises(BadParams, match="The prompt has 76 tokens"):
        validate_job("rank", {"prompt": f"{FULL} pear", "pictures": ("a", "b")})


def test_counting_needs_no_torch_and_a_short_prompt_no_tokenizer() -> None:
    code = (
        "import sys; from generator.params import validate; validate('vqgan-clip', {'prompt': 'a red heart'}); "
        "short = 'clip.simple_tokenizer' in sys.modules; validate('vqgan-clip', {'prompt': 'word ' * 75}); "
        "sys.exit(short or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
