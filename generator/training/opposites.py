"""Hard negatives for a CLIP: a caption with its colours or its places exchanged (NegCLIP, Yuksekgonul et al. 2023,
arXiv:2210.01936), which a bag of words cannot tell from the caption itself."""

from __future__ import annotations

import random

from generator.training.captions import COLOURS, STYLE_WORDS

RELATIONS = ("on", "in", "under", "behind", "above", "below", "wearing", "holding", "riding", "left of", "right of")


def opposite(text: str, draw: random.Random) -> str | None:
    """The caption of another picture in nearly the same words; None where there is nothing to exchange."""
    said, comma, rest = text.partition(", ")
    words = said.split()
    coloured = [place for place, word in enumerate(words) if word in COLOURS]
    if len({words[place] for place in coloured}) > 1:
        first, second = coloured[0], next(at for at in coloured if words[at] != words[coloured[0]])
        words[first], words[second] = words[second], words[first]
        return " ".join(words) + comma + rest
    if "background" not in words:
        for relation in RELATIONS:
            before, between, after = said.partition(f" {relation} ")
            if between and before != after:
                return f"{after}{between}{before}{comma}{rest}"
    if coloured:
        words[coloured[0]] = draw.choice([colour for colour in COLOURS if colour != words[coloured[0]]])
        return " ".join(words) + comma + rest
    if rest in STYLE_WORDS.values():
        return f"{said}, {draw.choice([style for style in STYLE_WORDS.values() if style != rest])}"
    return None
