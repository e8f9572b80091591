"""What the embedded BigGAN learns from: pictures on white, their groups and styles, their captions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from generator.training import dataset
from generator.training.captions import captions_of, with_article
from generator.training.codes import STYLE_WEIGHTS, concept_weight, recoloured

RECOLOURED = 0.12  # share of draws


@dataclass
class Seen:
    """What is trained on, M pictures on white."""

    images: torch.Tensor  # (M, 3, R, R) uint8
    classes: torch.Tensor  # (M, groups + styles), two ones a row
    weight: torch.Tensor  # (M,) how often a picture is drawn, sum 1
    features: torch.Tensor  # (T, text_width) fp16, one per distinct text
    captions: list[torch.Tensor]  # per picture: numbers of its texts
    caption_weight: list[torch.Tensor]
    groups: list[str]
    styles: list[str]


def prepare(pictures: dataset.Pictures, encode: Callable[[list[str]], torch.Tensor], names: dict[int, str]) -> Seen:
    """`encode` gives the vectors (T, text_width) of texts; `names` those of emojibase's subgroups."""
    present = sorted({concept["subgroup"] for concept in pictures.concepts})
    styles = [style for style in STYLE_WEIGHTS if style in pictures.styles]
    wanted = np.array([concept_weight(concept) for concept in pictures.concepts])
    styled = np.array([STYLE_WEIGHTS.get(style, 0.0) for style in pictures.styles])
    weight = wanted[pictures.concept] * styled[pictures.style]
    rows = np.flatnonzero(pictures.train & (weight > 0))
    made, origin, colours = recoloured(pictures, rows, each=1)
    texts: dict[str, int] = {}
    captions, shares = [], []
    for row in rows:
        pairs = captions_of(pictures.concepts[pictures.concept[row]])
        captions.append(torch.tensor([texts.setdefault(text, len(texts)) for text, _ in pairs]))
        shares.append(torch.tensor([share for _, share in pairs]))
    for name in colours:
        captions.append(torch.tensor([texts.setdefault(text, len(texts)) for text in (name, with_article(name))]))
        shares.append(torch.tensor([0.3, 0.7]))
    every = np.concatenate([rows, np.array(origin, dtype=int)])
    rgba = np.concatenate([pictures.rgba[rows], np.stack(made)]) if made else pictures.rgba[rows]
    whites = [
        (dataset.composite(chunk, torch.ones(len(chunk), 3)) * 255).round().byte()
        for chunk in torch.from_numpy(rgba).split(512)
    ]
    groups = [pictures.concepts[concept]["subgroup"] for concept in pictures.concept[every]]
    classes = torch.zeros(len(every), len(present) + len(styles))
    classes[torch.arange(len(every)), torch.tensor([present.index(group) for group in groups])] = 1
    style_of = [styles.index(pictures.styles[style]) for style in pictures.style[every]]
    classes[torch.arange(len(every)), len(present) + torch.tensor(style_of)] = 1
    share = weight[every] / weight[rows].sum()
    if made:
        share[: len(rows)] *= 1 - RECOLOURED
        share[len(rows) :] *= RECOLOURED / share[len(rows) :].sum()
    return Seen(
        torch.cat(whites),
        classes,
        torch.from_numpy(share).float(),
        encode(list(texts)).half(),
        captions,
        shares,
        [names.get(group, str(group)) for group in present],
        styles,
    )


def subgroup_names(package: Path) -> dict[int, str]:
    """Emojibase's names of its subgroups, such as "animal-bird"."""
    named = json.loads((package / "meta" / "groups.json").read_text())["subgroups"]
    return {int(number): name for number, name in named.items()}
