"""Every CLIP reads a text as openai-clip's own `tokenize` and `encode_text` do, whatever signs are in it."""

from __future__ import annotations

import ast
import importlib.util
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from generator.models import clip
from generator.tokens import openai_clip, tokenizer

SIGNS = "!!!!???...,;:-_/\\|@#$%^&*()[]{}<>'\"`~+=§°€£¿¡«»„“”…–—•·♥❤★☆☺☠✔✘→←∞½²π"
EMOJI = "🐱🐶😀😂🥺🔥💔🚀🎉👍🏽👩‍🚀🏳️‍🌈🇪🇸🧑‍💻🫠🪿🩷"
WORDS = ("a", "red", "heart", "cat", "el", "gato", "Katze", "猫", "кот", "قط", "1", "42", "wow!", "!", "!!", "don't")


def strings(count: int) -> list[str]:
    """Random texts of signs, emoji and words, each short enough for CLIP."""
    drawn, found = random.Random(18), []
    while len(found) < count:
        kinds = drawn.choices((SIGNS, EMOJI, WORDS), k=drawn.randint(1, 8))
        text = drawn.choice(("", " ")).join(drawn.choice(kind) for kind in kinds)
        if len(tokenizer().encode(text)) <= 75:
            found.append(text)
    return found


@pytest.fixture(scope="module")
def package_tokenize() -> Any:
    """`clip.tokenize` as the package has it, out of its file: importing that needs torchvision and pkg_resources."""
    spec = importlib.util.find_spec("clip")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    tree = ast.parse((folder / "clip.py").read_text())
    wanted = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "tokenize")
    later = SimpleNamespace(version=SimpleNamespace(parse=lambda text: tuple(map(int, text.split("+")[0].split(".")))))
    names: dict[str, Any] = {"torch": torch, "packaging": later, "_tokenizer": tokenizer()}
    exec("from typing import Union, List", names)
    exec(compile(ast.Module([wanted], []), "clip.py", "exec"), names)
    return names["tokenize"]


def small_clip() -> clip.ClipModel:
    torch.manual_seed(0)
    sizes = {"context_length": 77, "vocab_size": 49408, "transformer_width": 64, "transformer_heads": 1}
    vision = {"image_resolution": 32, "vision_layers": 1, "vision_width": 64, "vision_patch_size": 8}
    made = openai_clip("model").CLIP(embed_dim=64, transformer_layers=2, **vision, **sizes)
    return clip.from_state_dict(made.state_dict(), "small")


@pytest.mark.parametrize(("which", "count"), [("small", 1000), ("embedded", 100)])
def test_random_strings_of_signs_and_emoji(which: str, count: int, package_tokenize: Any) -> None:
    model = small_clip() if which == "small" else clip.load_mini()
    texts = [*strings(count - 4), "a red heart!❤", "!", "!!!", "wow! a cat!"]
    rows, network = package_tokenize(texts), model.network
    parts = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")
    theirs = SimpleNamespace(dtype=torch.float32, **{name: getattr(network, name) for name in parts})
    assert torch.equal(rows.long(), clip.tokenize(texts))
    with torch.no_grad():
        for start in range(0, len(texts), 250):
            own = model.encode_text(texts[start : start + 250])
            # The package's own method, on the same network.
            wanted = openai_clip("model").CLIP.encode_text(theirs, rows[start : start + 250])
            assert torch.allclose(own, torch.nn.functional.normalize(wanted, dim=1), atol=1e-5)


def test_the_mask_ends_with_the_end_token() -> None:
    _, mask = small_clip().token_features(["!", "a red heart!❤", "a cat"])
    assert mask.sum(dim=1).tolist() == [3, len(tokenizer().encode("a red heart!❤")) + 2, 4]
