"""Words weighed inside a text: `a (red:1.3) car`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from generator.prompts import Prompt
from generator.tokens import encode


def read_prompts(encode_text: Callable[[list[str]], Tensor], prompts: Sequence[Prompt]) -> Tensor:
    """The prompts' vectors (N, D), of unit length, by a CLIP that gives one for each text.

    Words of weight w move a text's vector e along what they add to it: e + sum (w - 1) (e - e_without), of unit length
    again, where e_without is the vector of the text without these words. So w = 0 is the text without them, as compel
    (Stewart 2023, "downweighting by removing tokens") has it, and above 1 the same line goes on. Words that are the
    whole text have nothing to stand out from. Without weighed words it is `encode_text` to the last bit.
    """
    changes = [(n, w - 1, text) for n, prompt in enumerate(prompts) for text, w in _without(prompt)]
    vectors = encode_text([p.text for p in prompts])
    if not changes:
        return vectors
    without = encode_text([text for _, _, text in changes])
    moved = vectors.clone()
    for (number, change, _), vector in zip(changes, without, strict=True):
        moved[number] += change * (vectors[number] - vector)
    weighed = sorted({number for number, _, _ in changes})
    moved[weighed] = F.normalize(moved[weighed], dim=1)
    return moved


def emphasised(hidden: Tensor, prompt: Prompt, encode: Callable[[str], list[int]] = encode) -> Tensor:
    """Hidden states of a text's tokens (L, W), those of weighed words scaled and the mean restored. encode: the numbers
    of a text's tokens, CLIP's by default.

    As AUTOMATIC1111 does (modules/sd_emphasis.py, EmphasisOriginal); start, end and filling tokens keep theirs.
    """
    if not prompt.fragments:
        return hidden
    factors, at = torch.ones(len(hidden)), 1
    for piece, weight in prompt.fragments:
        end = at + len(encode(piece))
        factors[at:end] = weight
        at = end
    scaled = hidden * factors.to(hidden)[:, None]
    return scaled * (hidden.mean() / scaled.mean())


def _without(prompt: Prompt) -> list[tuple[str, float]]:
    """For each piece that is weighed: the text without it, and its weight."""
    found = []
    for number, (_, weight) in enumerate(prompt.fragments):
        rest = " ".join("".join(piece for n, (piece, _) in enumerate(prompt.fragments) if n != number).split())
        if weight != 1 and any(sign.isalnum() for sign in rest):
            found.append((rest, weight))
    return found
