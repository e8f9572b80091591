"""Pictures and what is true of them, from which every recipe of the second family draws, all on one device.

This is the place where scenes come in: `generator.training.compositions` leaves `scenes.npy` (M, R, R, 4) uint8,
straight alpha, and `scenes.json` ({"captions": [[text, ...], ...], "styles": [name or null, ...]}, the first caption
the plain one) in the data's folder, and a share SCENES of all that is drawn is theirs.
"""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from generator.device import pick_device
from generator.tokens import CONTEXT, encode
from generator.tokens import row as token_row
from generator.training import dataset
from generator.training.captions import captions_of, plain, styled, with_article
from generator.training.codes import HUES, STYLE_WEIGHTS, concept_weight, own_hue, rotate_hue
from generator.training.opposites import opposite

SCENES, RECOLOURED = 0.5, 0.12  # shares of what is drawn, where there are any
STYLED = 0.3  # of a picture's captions that name its style
SIDED = ("left", "right")  # in a name: not to be mirrored
COLOURFUL = (3, 4, 5, 6, 7)  # emojibase's groups of things that may have another colour


@dataclass
class Batch:
    """images (B, 3, R, R) in [0, 1], style (B,), text (B,) rows of `Pairs.tokens`, label (B,)."""

    images: Tensor
    style: Tensor
    text: Tensor
    label: Tensor


@dataclass
class Pairs:
    """rgba (N, R, R, 4) uint8; still (N,): laid as it is; weight (N,): how often it is drawn; style (N,), len(styles)
    for none; label (N,): pictures of one label may be called the same. tokens (T, 77) of every text, texts (N, K) the
    rows a picture may be called by and their weights; opposite (T,): the row of a wrong one like it, -1 for none."""

    rgba: Tensor
    still: Tensor
    weight: Tensor
    style: Tensor
    label: Tensor
    tokens: Tensor
    texts: Tensor
    text_weight: Tensor
    opposite: Tensor
    styles: tuple[str, ...]

    @property
    def side(self) -> int:
        """px."""
        return self.rgba.shape[1]

    @property
    def device(self) -> torch.device:
        return self.rgba.device

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Pictures by their weights, each with one of its texts. The generator is of this device."""
        rows = torch.multinomial(self.weight, count, replacement=True, generator=generator)
        return Batch(self.placed(rows, generator), self.style[rows], self.said(rows, generator), self.label[rows])

    def said(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """One text of each row, (B,)."""
        drawn = torch.multinomial(self.text_weight[rows], 1, generator=generator)
        return self.texts[rows].gather(1, drawn)[:, 0]

    def placed(self, rows: Tensor, generator: torch.Generator, white: float = 0.9) -> Tensor:
        """Pictures (B, 3, R, R) on grounds that vary; those that are not `still` somewhat moved, scaled, turned and
        mirrored."""
        rgba, still = self.rgba[rows], self.still[rows]
        ground = dataset.backgrounds(len(rows), generator, white)
        moved = dataset.composite(rgba, ground, generator, scale=(0.8, 1.05), shift=0.05, flip=True, rotate=0.1)
        if not bool(still.any()):
            return moved
        return torch.where(still[:, None, None, None], dataset.composite(rgba, ground), moved)


def on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """A generator of that device, seeded by one of the CPU."""
    if device.type == "cpu":
        return generator
    return torch.Generator(device).manual_seed(int(torch.randint(2**62, (), generator=generator)))


def load(folder: Path, device: torch.device | str, *, seed: int = 0) -> Pairs:
    """Every training picture, copies in other colours, and the scenes there are. Raises DataMissing."""
    pictures = dataset.load(folder)
    style_weight = np.array([STYLE_WEIGHTS.get(style, 0.0) for style in pictures.styles])
    wanted = np.array([concept_weight(concept) for concept in pictures.concepts])
    weight = wanted[pictures.concept] * style_weight[pictures.style]
    rows = np.flatnonzero(pictures.train & (weight > 0))
    concepts = [pictures.concepts[number] for number in pictures.concept[rows]]
    captions = [
        [*captions_of(concept), (styled(plain(concept["label"]), pictures.styles[style]), STYLED)]
        for concept, style in zip(concepts, pictures.style[rows], strict=True)
    ]
    still = [any(word in concept["label"] for word in SIDED) for concept in concepts]
    rgba, shares, styles = [pictures.rgba[rows]], [weight[rows] ** 0.5], [pictures.style[rows]]
    labels = [pictures.concept[rows]]
    made, origin, names = recoloured(pictures, rows[[concept["group"] in COLOURFUL for concept in concepts]], seed)
    if made:
        shares = [shares[0] / shares[0].sum() * (1 - RECOLOURED), np.full(len(made), RECOLOURED / len(made))]
        captions += [[(name, 0.3), (with_article(name), 0.7)] for name in names]
        number = {name: len(pictures.concepts) + place for place, name in enumerate(dict.fromkeys(names))}
        labels.append(np.array([number[name] for name in names]))
        rgba.append(np.stack(made))
        styles.append(pictures.style[origin])
        still += [False] * len(made)
    if (folder / "scenes.json").is_file():
        said = json.loads((folder / "scenes.json").read_text())
        scenes = np.load(folder / "scenes.npy", mmap_mode="r")[: len(said["captions"])]
        known = {style: place for place, style in enumerate(pictures.styles)}
        shares = [part / sum(s.sum() for s in shares) * (1 - SCENES) for part in shares]
        shares.append(np.full(len(scenes), SCENES / len(scenes)))
        captions += [[(text, 1 / len(texts)) for text in texts] for texts in said["captions"]]
        first = 1 + max(int(part.max()) for part in labels)
        alike = {text: number for number, text in enumerate(dict.fromkeys(texts[0] for texts in said["captions"]))}
        labels.append(np.array([first + alike[texts[0]] for texts in said["captions"]]))
        rgba.append(scenes)
        styles.append(np.array([known.get(style, len(known)) for style in said["styles"]]))
        still += [True] * len(scenes)
    tokens, texts, text_weight, wrong = _table(captions, seed)
    columns = (np.concatenate(part) for part in (rgba, shares, styles, labels))
    whole, share, style, label = (torch.from_numpy(column).to(device) for column in columns)
    return Pairs(
        rgba=whole,
        still=torch.tensor(still, device=device),
        weight=share.float(),
        style=style,
        label=label,
        tokens=tokens.to(device),
        texts=texts.to(device),
        text_weight=text_weight.to(device),
        opposite=wrong.to(device),
        styles=tuple(pictures.styles),
    )


def load_of(side: int, folder: Path) -> Pairs:
    """As `load`, for a recipe that is of so many px, on the best device. Ends the program for data of another side."""
    pairs = load(folder, pick_device())
    if pairs.side != side:
        raise SystemExit(f"the data is of {pairs.side} px, not {side}: make it with --side {side}")
    return pairs


def recoloured(
    pictures: dataset.Pictures, rows: np.ndarray, seed: int, most: int = 2500
) -> tuple[list[np.ndarray], list[int], list[str]]:
    """Copies of one-hued things in another colour: pictures, the rows they come from, and names that are true."""
    draw = random.Random(seed)
    chosen = draw.sample(rows.tolist(), min(most, len(rows)))
    jobs = [(pictures.rgba[row], draw.choice(list(HUES))) for row in chosen]
    with ThreadPoolExecutor() as pool:
        turned = list(pool.map(in_colour, *zip(*jobs, strict=True))) if jobs else []
    made, origin, names = [], [], []
    for row, (_, colour), copy in zip(chosen, jobs, turned, strict=True):
        if copy is not None:
            words = plain(pictures.concepts[pictures.concept[row]]["label"]).split()
            made.append(copy)
            origin.append(row)
            names.append(" ".join([colour, *(word for word in words if word not in HUES)]))
    return made, origin, names


def in_colour(rgba: np.ndarray, colour: str) -> np.ndarray | None:
    """A picture of one hue in another; None where it has several."""
    hue = own_hue(rgba)
    return None if hue is None else rotate_hue(rgba, HUES[colour] - hue)


def _table(captions: list[list[tuple[str, float]]], seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """tokens (T, 77), rows of them (N, K) for each picture and their weights, and the row of each one's opposite."""
    numbers: dict[str, int] = {}
    longest = max(map(len, captions))
    texts, weights = torch.zeros(len(captions), longest, dtype=torch.long), torch.zeros(len(captions), longest)
    for row, pairs in enumerate(captions):
        texts[row, : len(pairs)] = torch.tensor([numbers.setdefault(text, len(numbers)) for text, _ in pairs])
        weights[row, : len(pairs)] = torch.tensor([weight for _, weight in pairs])
    draw = random.Random(seed)
    wrong = {text: other for text in list(numbers) if (other := opposite(text, draw)) is not None}
    rows = [numbers.setdefault(wrong[text], len(numbers)) if text in wrong else -1 for text in list(numbers)]
    opposites = torch.full((len(numbers),), -1)
    opposites[: len(rows)] = torch.tensor(rows)
    return _tokens(list(numbers)), texts, weights, opposites


def _tokens(texts: list[str]) -> Tensor:
    """As `tokenize` has them, (T, 77); each word is read once, since so many texts have few."""
    read = cache(encode)
    start, end = token_row([""])
    tokens = torch.zeros(len(texts), CONTEXT, dtype=torch.long)
    for place, text in zip(tokens, texts, strict=True):
        numbers = [start, *(number for word in text.split() for number in read(word)), end]
        place[: len(numbers)] = torch.tensor(numbers)
    return tokens
