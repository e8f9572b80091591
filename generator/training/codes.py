"""What the prior learns from: which pictures, how often, their codes, their captions, and hue-rotated copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from generator.training import data
from generator.training.captions import captions_of, plain, with_article
from generator.training.patches import PatchCoder

STYLE_WEIGHTS = {"noto": 0.8, "twemoji": 0.12, "fluent": 0.08}
GROUP_WEIGHTS = {0: 1.0, 3: 1.6, 4: 1.5, 5: 1.0, 6: 1.0, 7: 0.9}  # emojibase's groups
HANDS, BODY, PERSON, FANTASY, CLOCKS, GEOMETRIC = range(15, 22), 22, 23, 26, 58, 96
COMMON = frozenset(
    {
        "red heart",
        "cat",
        "cat face",
        "dog",
        "dog face",
        "automobile",
        "house",
        "deciduous tree",
        "evergreen tree",
        "sun",
        "red apple",
        "banana",
        "pizza",
        "rocket",
        "tropical fish",
        "fish",
        "bird",
        "penguin",
        "owl",
        "frog",
        "crown",
        "light bulb",
        "soccer ball",
        "bicycle",
        "strawberry",
        "birthday cake",
        "hamburger",
        "ice cream",
        "airplane",
        "sailboat",
        "star",
        "crescent moon",
        "rainbow",
        "snowman",
        "umbrella",
        "rose",
        "sunflower",
        "tulip",
        "robot",
        "ghost",
        "skull",
        "alien",
        "dragon",
        "unicorn",
        "horse",
        "cow",
        "pig",
        "rabbit",
        "bear",
        "panda",
        "lion",
        "tiger face",
        "monkey",
        "elephant",
        "butterfly",
        "lady beetle",
        "honeybee",
        "octopus",
        "whale",
        "shark",
        "turtle",
        "snake",
        "spider",
        "chicken",
        "duck",
        "flying saucer",
        "castle",
        "bus",
        "fire engine",
        "police car",
        "locomotive",
        "guitar",
        "trumpet",
        "book",
        "key",
        "hammer",
        "bomb",
        "gem stone",
        "trophy",
        "balloon",
        "wrapped gift",
        "watermelon",
        "cherries",
        "lemon",
        "grapes",
        "pineapple",
        "carrot",
        "tomato",
        "bread",
        "hot beverage",
        "teapot",
        "egg",
        "cactus",
        "mushroom",
        "fire",
        "snowflake",
        "cloud",
        "volcano",
        "grinning face",
        "smiling face with sunglasses",
        "crying face",
        "angry face",
        "blue heart",
        "green heart",
        "mountain",
        "clown face",
        "fox",
        "t-shirt",
        "dress",
        "hat",
        "top hat",
        "glasses",
        "shoe",
        "telephone",
        "laptop",
        "camera",
        "television",
        "clock",
        "alarm clock",
        "watch",
        "bell",
        "envelope",
    }
)
HUES = {"red": 0, "orange": 28, "yellow": 52, "green": 120, "blue": 215, "purple": 275, "pink": 325}  # degrees


@dataclass
class Examples:
    """Rows to draw from: `codes` (M, 2, g, g) as rendered and mirrored, and each row's captions."""

    codes: torch.Tensor  # int16
    style: torch.Tensor  # (M,)
    weight: torch.Tensor  # (M,) how often a row is drawn
    features: torch.Tensor  # (T, text_width) fp16, one per distinct text
    captions: list[torch.Tensor]  # per row: numbers of its texts
    caption_weight: list[torch.Tensor]
    texts: list[str]


def concept_weight(concept: dict[str, Any]) -> float:
    """How often a concept is drawn: simple things most, families, letters and clocks never."""
    group, subgroup = concept["group"], concept["subgroup"]
    weight = GROUP_WEIGHTS.get(group, 0.0)
    if group == 1:
        weight = 0.4 if subgroup in (*HANDS, BODY, PERSON, FANTASY) and "200d" not in concept["code"] else 0.0
    if group == 8:
        weight = 0.4 if subgroup == GEOMETRIC else 0.0
    if (subgroup == CLOCKS and "o’clock" in concept["label"]) or "-thirty" in concept["label"]:
        weight = 0.0
    return weight * (8.0 if concept["label"] in COMMON else 1.0)


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
    pictures: data.Pictures, rows: np.ndarray, each: int, seed: int = 0
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
    pictures: data.Pictures,
    coder: PatchCoder,
    read: Callable[[list[str]], torch.Tensor],
    each: int = 2,
    recoloured_share: float = 0.08,
) -> tuple[Examples, Examples]:
    """Examples to train on and unseen ones to watch the loss on; `read` gives the vectors (T, text_width) of texts."""
    wanted = np.array([concept_weight(concept) for concept in pictures.concepts])
    style_weight = np.array([STYLE_WEIGHTS.get(style, 0.0) for style in pictures.styles])
    weight = wanted[pictures.concept] * style_weight[pictures.style]
    number = {style: row for row, style in enumerate(STYLE_WEIGHTS)}
    styles = np.array([number.get(style, 0) for style in pictures.styles])[pictures.style]

    def codes_of(rgba: np.ndarray) -> torch.Tensor:
        images = data.composite(torch.from_numpy(rgba), torch.ones(len(rgba), 3))
        both = [coder.codes(side) for side in (images, images.flip(3))]
        return torch.stack(both, dim=1).to(torch.int16)

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
                read(list(texts)).half(),
                captions,
                caption_weight,
                list(texts),
            )
        )
    return parts[0], parts[1]


def save(examples: tuple[Examples, Examples], path: Path) -> None:
    torch.save([vars(part) for part in examples], path)


def load(path: Path) -> tuple[Examples, Examples]:
    seen, unseen = torch.load(path, weights_only=True)
    return Examples(**seen), Examples(**unseen)
