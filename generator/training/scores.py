"""How the embedded models are scored: the prompts, and what a judge sees in the pictures."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from generator import registry
from generator.engines.base import generate
from generator.engines.rank import Rank
from generator.images.debris import debris
from generator.models.clip import ClipModel, load_mini, load_robust
from generator.models.lpips import LPIPS
from generator.models.vqgan import load_mini as load_vqgan
from generator.params import RankParams
from generator.training import dataset
from generator.training.captions import plain, with_article
from generator.training.codes import concept_weight

FREE = (
    "a grinning robot",
    "a speedy red car",
    "a tiny yellow bird",
    "a big slice of pepperoni pizza",
    "a cosy little house",
    "a sleepy kitten",
    "a puppy",
    "a purple flower",
    "a tall green tree",
    "a spaceship taking off",
    "a glass of red wine",
    "a cup of hot coffee",
    "a scary ghost",
    "a royal golden crown",
    "a yellow happy face",
    "a very angry red face",
    "a blue whale in the sea",
    "a juicy red apple",
    "a bunch of purple grapes",
    "an old telephone",
    "a bright shining sun",
    "a snowy mountain",
    "a cool guy with sunglasses",
    "a wrapped birthday present",
    "a pair of scissors for paper",
    "a small sailing boat",
    "a ball for basketball",
    "a hot burger",
    "an eight-legged spider",
    "a bicycle to ride to work",
)
HELD_OUT = 70


@dataclass(frozen=True)
class Prompt:
    text: str
    style: str
    row: int | None  # of the held-out picture; None for a free phrase


def prompts_of(pictures: dataset.Pictures, seed: int = 0) -> list[Prompt]:
    """70 held-out pictures, the styles as even as they come and no concept twice, and the free phrases."""
    draw = random.Random(seed)
    rows = [
        int(row)
        for row in np.flatnonzero(pictures.unseen_style)
        if concept_weight(pictures.concepts[pictures.concept[row]]) > 0
    ]
    draw.shuffle(rows)
    by_style = {style: [row for row in rows if pictures.style[row] == style] for style in range(len(pictures.styles))}
    chosen: dict[str, int] = {}
    while len(chosen) < HELD_OUT and any(by_style.values()):
        for left in by_style.values():
            if left and len(chosen) < HELD_OUT:
                row = left.pop()
                chosen.setdefault(plain(pictures.concepts[pictures.concept[row]]["label"]), row)
    held_out = [Prompt(with_article(name), pictures.styles[pictures.style[row]], row) for name, row in chosen.items()]
    styles = [style for style in pictures.styles if style in registry.STYLES]
    return held_out + [Prompt(text, styles[number % len(styles)], None) for number, text in enumerate(FREE)]


@torch.no_grad()
def seen_by(judge: ClipModel, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """images (N, 3, H, W) in [0, 1] -> unit vectors (N, D) and style numbers (N,), -1 where a CLIP tells none."""
    vectors, styles = [], []
    for part in images.split(64):
        part = F.interpolate(part, (judge.resolution, judge.resolution), mode="bilinear", antialias=True)
        with torch.autocast("cpu", torch.bfloat16):
            vectors.append(judge.encode_image(part).float())
            styles.append(judge.style_scores(part).argmax(dim=1) if judge.styles else torch.full((len(part),), -1))
    return torch.cat(vectors), torch.cat(styles)


@dataclass
class Ruler:
    """What every engine is measured by."""

    judge: ClipModel
    prompts: list[Prompt]
    texts: torch.Tensor  # (P, D)
    training: torch.Tensor  # (N, 3, 64, 64) what was trained on, on white

    def measure(self, pictures: np.ndarray, styles: Sequence[str] | None = None) -> dict[str, float]:
        """pictures (seeds, P, 3, H, W) uint8 -> figures. styles: asked for, of each seed, where that is not the
        prompts' own."""
        seeds = len(pictures)
        images = torch.from_numpy(pictures).flatten(0, 1).float() / 255
        images = F.interpolate(images, (64, 64), mode="area")
        vectors, seen = seen_by(self.judge, images)
        ranks = (vectors @ self.texts.T).argsort(dim=1, descending=True)
        own = torch.arange(len(self.prompts)).repeat(seeds)[:, None]
        asked = [prompt.style for prompt in self.prompts] * seeds
        if styles is not None:
            asked = [style for style in styles for _ in self.prompts]
        wanted = torch.tensor([self.judge.styles.index(style) for style in asked])
        known = torch.tensor([prompt.row is not None for prompt in self.prompts]).repeat(seeds)
        right = ranks[:, 0] == own[:, 0]
        nearest = [self._nearest(part) for part in images.split(20)]
        gap = torch.cat([gap for gap, _ in nearest])
        by_seed = vectors.view(seeds, len(self.prompts), -1)
        apart = 1 - torch.einsum("spd,tpd->stp", by_seed, by_seed).mean(dim=2)
        return {
            "r1": float(right.float().mean()),
            "r1_held_out": float(right[known].float().mean()),
            "r1_free": float(right[~known].float().mean()),
            "r5": float((ranks[:, :5] == own).any(dim=1).float().mean()),
            "style": float((seen == wanted).float().mean()),
            "diversity": float(apart.sum() / (seeds * (seeds - 1))) if seeds > 1 else float("nan"),
            "debris": float(np.mean([debris(image)[1] for image in images])),
            "sharpness": float(np.mean([sharpness(image) for image in images])),
            "nearest_db": float((-10 * gap.clamp(min=1e-6).log10()).median()),
            "copies": float((gap < 10**-3.0).float().mean()),
        }

    def _nearest(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean squared difference to the nearest training picture and which it is, (N,)."""
        flat, known = images.flatten(1), self.training.flatten(1)
        gaps = (flat.square().sum(1)[:, None] - 2 * flat @ known.T + known.square().sum(1)[None]) / flat.shape[1]
        found = gaps.min(dim=1)
        return found.values.clamp(min=0), found.indices


def sharpness(image: torch.Tensor) -> float:
    """How steep the steepest 2 % of image (3, H, W) in [0, 1] are, change per px."""
    grey = image.mean(dim=0)
    steep = ((grey[1:, :-1] - grey[:-1, :-1]).square() + (grey[:-1, 1:] - grey[:-1, :-1]).square()).sqrt().flatten()
    return float(steep.topk(max(len(steep) // 50, 1)).values.mean())


def ranked_first(pictures: np.ndarray, prompts: Sequence[str], **settings: Any) -> np.ndarray:
    """Which of the pictures (seeds, P, 3, H, W) uint8 of each prompt a ranking with these settings puts first, (P,)."""

    def read_image(name: str) -> Image.Image:
        seed, number = map(int, name.split())
        return Image.fromarray(pictures[seed, number].transpose(1, 2, 0))

    clips = {"mini": load_mini, "mini-robust": load_robust}
    engine: Any = Rank([clips[name]() for name in settings["clip"]], read_image=read_image)
    first = []
    for number, prompt in enumerate(prompts):
        names = [f"{seed} {number}" for seed in range(len(pictures))]
        params = RankParams(prompt=prompt, pictures=tuple(names), **settings)
        result = list(generate(engine, params))[-1].result
        assert result is not None
        first.append(int(result["ranking"][0]["picture"].split()[0]))
    return np.array(first)


def on_white(pictures: dataset.Pictures, rows: np.ndarray) -> torch.Tensor:
    return dataset.composite(torch.from_numpy(pictures.rgba[rows]), torch.ones(len(rows), 3))


@torch.no_grad()
def retrieval(clip: ClipModel, pictures: dataset.Pictures, name: str) -> list[str]:
    """Rows of the retrieval table: held-out pictures among 100 labels and among all."""
    labels = [plain(concept["label"]) for concept in pictures.concepts]
    known = torch.cat([clip.encode_text(labels[start : start + 256]) for start in range(0, len(labels), 256)])
    lines = []
    for what, chosen in (
        ("unseen style", pictures.unseen_style),
        ("unseen concept", pictures.unseen_concept),
    ):
        rows = np.flatnonzero(chosen)
        vectors, styles = seen_by(clip, on_white(pictures, rows))
        own = torch.from_numpy(pictures.concept[rows])
        score = vectors @ known.T
        cells = []
        for among in (100, len(labels)):
            places = []
            for row, concept in enumerate(own.tolist()):
                draw = torch.Generator().manual_seed(row)
                others = torch.randperm(len(labels), generator=draw)[:among]
                others = others[others != concept][: among - 1]
                places.append(int((score[row, others] > score[row, concept]).sum()))
            found = torch.tensor(places)
            cells += [f"{float((found < top).float().mean()):.0%}" for top in (1, 5)]
        right = float((styles == torch.from_numpy(pictures.style[rows])).float().mean())
        cells.append(f"{right:.0%}" if clip.styles else "")
        lines.append(f"| {name} | {what} ({len(rows)}) | {' | '.join(cells)} |")
    return lines


@torch.no_grad()
def reconstruction(pictures: dataset.Pictures, lpips: LPIPS) -> tuple[float, float, int, int]:
    """On unseen concepts through the encoder: mean PSNR in dB, mean LPIPS, codes in use, codes in all."""
    model = load_vqgan()
    wanted = on_white(pictures, np.flatnonzero(pictures.unseen_concept))
    gaps, distances, used = [], [], []
    for part in wanted.split(32):
        with torch.autocast("cpu", torch.bfloat16):
            z, codes = model.quantise(model.encode(part).float())
            made = model.decode(z).float()
        gaps.append((made - part).square().mean(dim=(1, 2, 3)))
        distances.append(lpips(made.clamp(0, 1) * 2 - 1, part * 2 - 1))
        used.append(codes.flatten())
    psnr = float(-10 * torch.cat(gaps).clamp(min=1e-6).log10().mean())
    return psnr, float(torch.cat(distances).mean()), int(torch.cat(used).unique().numel()), model.n_embed
