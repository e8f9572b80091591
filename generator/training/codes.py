"""What the recipes on codes learn from: which pictures, how often, their codes, captions, and hue-rotated copies."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from generator.training import dataset
from generator.training.captions import captions_of, common, plain, with_article
from generator.training.patches import PatchCoder, load_or_fit
from generator.training.text_encoder import TextEncoder
from generator.training.validation_prompts import PROMPTS

STYLE_WEIGHTS = {  # how often a style is drawn; what the prior offers
    "noto": 0.28,
    "twemoji": 0.18,
    "fluent": 0.16,
    "3d": 0.16,
    "silhouette": 0.08,
    "blob": 0.08,
    "fx": 0.06,
}
GROUP_WEIGHTS = {0: 1.0, 3: 1.6, 4: 1.5, 5: 1.0, 6: 1.0, 7: 0.9}  # emojibase's groups
PEOPLE, SYMBOLS = 1, 8
FAMILIES, CLOCKS, BUTTONS = (30, 31), 58, (88, 92, 94, 95)  # emojibase's subgroups
HUES = {"red": 0, "orange": 28, "yellow": 52, "green": 120, "blue": 215, "purple": 275, "pink": 325}  # degrees


DROP_TEXT, DROP_STYLE, OTHER_STYLE = 0.12, 0.15, 0.5


@dataclass
class Examples:
    """Rows to draw from: `codes` (M, g, g) and each row's captions."""

    codes: torch.Tensor  # int16
    style: torch.Tensor  # (M,)
    weight: torch.Tensor  # (M,) how often a row is drawn
    features: torch.Tensor  # (T, text_width) fp16, one per distinct text
    captions: list[torch.Tensor]  # per row: numbers of its texts
    caption_weight: list[torch.Tensor]
    texts: list[str]


def concept_weight(concept: dict[str, Any]) -> float:
    """How often a concept is drawn: simple things most, families, letters and clocks never."""
    group, subgroup, label = concept["group"], concept["subgroup"], concept["label"]
    weight = GROUP_WEIGHTS.get(group, 0.0)
    if group == PEOPLE:
        weight = 0.0 if subgroup in FAMILIES or re.match(r"(wo)?m[ae]n\b|person.*:", label) else 0.4
    if group == SYMBOLS:
        weight = 0.0 if subgroup in BUTTONS else 0.3
    if (subgroup == CLOCKS and "o’clock" in label) or "-thirty" in label:
        weight = 0.0
    return weight * (5.0 if common(concept) else 1.0)


def own_hue(rgba: np.ndarray) -> float | None:
    """The hue in degrees that nearly all the colour of an RGBA picture has; None where there is no such hue."""
    hsv = np.asarray(Image.fromarray(np.ascontiguousarray(rgba[..., :3])).convert("HSV")).astype(float)
    mass = (hsv[..., 1] / 255) * (hsv[..., 2] / 255) * (rgba[..., 3] / 255) * (hsv[..., 1] > 70)
    if mass.sum() < 0.3 * (rgba[..., 3] / 255).sum():
        return None
    angle = hsv[..., 0] / 255 * 2 * np.pi
    mean = np.angle((mass * np.exp(1j * angle)).sum())
    near = np.cos(angle - mean) > np.cos(np.radians(30))
    return float(np.degrees(mean) % 360) if mass[near].sum() > 0.8 * mass.sum() else None


def rotate_hue(rgba: np.ndarray, degrees: float) -> np.ndarray:
    """Every hue of an RGBA picture turned by `degrees`."""
    hsv = np.array(Image.fromarray(np.ascontiguousarray(rgba[..., :3])).convert("HSV"))
    hsv[..., 0] = (hsv[..., 0].astype(int) + round(degrees / 360 * 255)) % 256
    return np.concatenate([np.asarray(Image.fromarray(hsv, mode="HSV").convert("RGB")), rgba[..., 3:]], axis=2)


def recoloured(
    pictures: dataset.Pictures, rows: np.ndarray, each: int, seed: int = 0
) -> tuple[list[np.ndarray], list[int], list[str]]:
    """Copies of one-hued things in other colours: pictures, the rows they come from and a caption that is true."""
    draw = np.random.default_rng(seed)
    made, origin, captions = [], [], []
    for row in rows:
        concept = pictures.concepts[pictures.concept[row]]
        hue = own_hue(pictures.rgba[row]) if concept["group"] in (3, 4, 5, 6, 7) else None
        if hue is None:
            continue
        words = [word for word in plain(concept["label"]).split() if word not in HUES]
        for colour in draw.permutation(list(HUES))[:each]:
            made.append(rotate_hue(pictures.rgba[row], HUES[colour] - hue))
            origin.append(int(row))
            captions.append(" ".join([str(colour), *words]))
    return made, origin, captions


def prepare(
    pictures: dataset.Pictures,
    coder: PatchCoder,
    encode: Callable[[list[str]], torch.Tensor],
    each: int = 2,
    recoloured_share: float = 0.08,
) -> tuple[Examples, Examples]:
    """Examples to train on and unseen ones to watch the loss on; `encode` gives vectors (T, text_width) of texts."""
    wanted = np.array([concept_weight(concept) for concept in pictures.concepts])
    style_weight = np.array([STYLE_WEIGHTS.get(style, 0.0) for style in pictures.styles])
    weight = wanted[pictures.concept] * style_weight[pictures.style]
    number = {style: row for row, style in enumerate(STYLE_WEIGHTS)}
    styles = np.array([number.get(style, 0) for style in pictures.styles])[pictures.style]

    def codes_of(rgba: np.ndarray) -> torch.Tensor:
        images = dataset.composite(torch.from_numpy(rgba), torch.ones(len(rgba), 3))
        return coder.codes(images).to(torch.int16)

    parts = []
    for training in (True, False):
        chosen = pictures.train == training
        rows = np.flatnonzero(chosen & (weight > 0))
        texts: dict[str, int] = {}
        captions, caption_weight = [], []
        for row in rows:
            pairs = captions_of(pictures.concepts[pictures.concept[row]])
            captions.append(torch.tensor([texts.setdefault(text, len(texts)) for text, _ in pairs]))
            caption_weight.append(torch.tensor([share for _, share in pairs]))
        codes, style, weights = codes_of(pictures.rgba[rows]), styles[rows], weight[rows] / weight[rows].sum()
        made, origin, names = recoloured(pictures, rows, each) if training else ([], [], [])
        if made:
            for name in names:
                pair = [texts.setdefault(text, len(texts)) for text in (name, with_article(name))]
                captions.append(torch.tensor(pair))
                caption_weight.append(torch.tensor([0.3, 0.7]))
            share = weight[origin] / weight[origin].sum()
            codes = torch.cat([codes, codes_of(np.stack(made))])
            style = np.concatenate([style, styles[origin]])
            weights = np.concatenate([weights * (1 - recoloured_share), share * recoloured_share])
        parts.append(
            Examples(
                codes,
                torch.from_numpy(style),
                torch.from_numpy(weights),
                encode(list(texts)).half(),
                captions,
                caption_weight,
                list(texts),
            )
        )
    return parts[0], parts[1]


def levelled(examples: Examples, power: float) -> Examples:
    """The same, with the chance of each row raised to `power`: below 1 it draws rare rows more often."""
    return replace(examples, weight=examples.weight**power)


def draw_rows(
    examples: Examples, size: int, styles: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Numbers of rows (B,), text vectors (B, W), style numbers (B,), rows without text (B,) bool."""
    rows = torch.multinomial(examples.weight, size, replacement=True, generator=generator)
    texts = torch.stack(
        [
            examples.captions[row][torch.multinomial(examples.caption_weight[row], 1, generator=generator)[0]]
            for row in rows.tolist()
        ]
    )
    style = examples.style[rows].clone()
    chance = torch.rand(2, size, generator=generator)
    style[chance[0] < DROP_STYLE] = styles  # any style
    return rows, examples.features[texts].float(), style, chance[1] < DROP_TEXT


def draw_batch(
    examples: Examples, size: int, styles: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """codes (B, g, g), text vectors (B, W), style numbers (B,), rows without text (B,) bool."""
    rows, *rest = draw_rows(examples, size, styles, generator)
    text, style, drop = rest
    return examples.codes[rows].long(), text, style, drop


def elsewhere(style: torch.Tensor, styles: int, generator: torch.Generator) -> torch.Tensor:
    """Style numbers (B,), a share OTHER_STYLE of them drawn anew among `styles`: what a draft is drawn in."""
    other = torch.randint(styles, style.shape, generator=generator)
    return torch.where(torch.rand(style.shape, generator=generator) < OTHER_STYLE, other, style)


def noisy(vectors: torch.Tensor, max_strength: float, generator: torch.Generator) -> torch.Tensor:
    """Each row of unit vectors (B, W) moved by noise of a random length up to `max_strength`, most often little."""
    strength = max_strength * torch.rand(len(vectors), 1, generator=generator).square()
    noise: torch.Tensor = strength * vectors.shape[1] ** -0.5 * torch.randn(vectors.shape, generator=generator)
    return vectors + noise


def load_or_prepare(
    folder: Path, coder: PatchCoder, encode: Callable[[list[str]], torch.Tensor]
) -> tuple[Examples, Examples]:
    """What `prepare` gives for the data in `folder`, kept in its runs/codes.pt."""
    kept = folder / "runs" / "codes.pt"
    if not kept.is_file():
        examples = prepare(dataset.load(folder), coder, encode)
        torch.save([vars(part) for part in examples], kept.with_suffix(".tmp"))
        kept.with_suffix(".tmp").replace(kept)
    seen, unseen = torch.load(kept, weights_only=True)
    return Examples(**seen), Examples(**unseen)


@dataclass(frozen=True, kw_only=True)
class Material:
    """What layout, prior, restyler and latent diffusion learn from; `prompts` (P, text_width) are those of a sheet."""

    coder: PatchCoder
    seen: Examples
    unseen: Examples | None
    prompts: torch.Tensor


def load_material(folder: Path) -> Material:
    """The material of the data in `folder`; its runs hold a finished text encoder. Raises DataMissing."""
    runs = folder / "runs"
    coder, encode = load_or_fit(dataset.load(folder), runs / "patches.pt"), TextEncoder(runs)
    seen, unseen = load_or_prepare(folder, coder, encode)
    return Material(coder=coder, seen=seen, unseen=unseen, prompts=encode(list(PROMPTS)).float())
