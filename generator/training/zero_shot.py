"""Zero-shot classification, which the CLIPs are trained and scored by: a picture's concept named among all captions."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from generator.training import dataset
from generator.training.captions import captions_of, plain, styled
from generator.training.image_tower import ImageTower

STYLE_SHARE = 0.3  # weight of telling the styles apart beside telling the concepts apart


def augment(pictures: dataset.Pictures, rows: np.ndarray, generator: torch.Generator) -> torch.Tensor:
    """Pictures (B, 3, R, R) as a guiding CLIP meets them: placed, cut out, tinted, blurred, noisy."""
    images = dataset.composite(
        torch.from_numpy(pictures.rgba[rows]),
        dataset.backgrounds(len(rows), generator),
        generator,
        scale=(0.7, 1.35),
        shift=0.1,
        flip=True,
        rotate=0.25,
    )
    count = len(rows)
    uniform = torch.rand(4, count, 1, 1, 1, generator=generator)
    images = (images - 0.5) * (0.75 + 0.5 * uniform[0]) + 0.5 + (uniform[1] - 0.5) * 0.2
    for share, size in ((0.45, 3), (0.18, 5)):  # the second blur falls on some of the first's
        blurred = F.avg_pool2d(images, size, 1, size // 2, count_include_pad=False)
        images = torch.where(uniform[2] < share, blurred, images)
    noise = torch.randn(images.shape, generator=generator) * 0.2 * uniform[3].pow(3)
    return (images + noise).clamp(0, 1)


class Texts:
    """Every caption's vector, which captions a concept may have, and each label's vector in each style's words."""

    def __init__(self, pictures: dataset.Pictures, vectors: dict[str, torch.Tensor]) -> None:
        numbers = {text: number for number, text in enumerate(vectors)}
        self.vectors = torch.stack(list(vectors.values())).float()
        pairs = [captions_of(concept) for concept in pictures.concepts]
        longest = max(len(pair) for pair in pairs)
        self.choices = torch.zeros(len(pairs), longest, dtype=torch.long)
        self.weights = torch.zeros(len(pairs), longest)
        for row, pair in enumerate(pairs):
            self.choices[row, : len(pair)] = torch.tensor([numbers[text] for text, _ in pair])
            self.weights[row, : len(pair)] = torch.tensor([weight for _, weight in pair])
        names = [plain(concept["label"]) for concept in pictures.concepts]
        self.labels = torch.stack([self.vectors[numbers[name]] for name in names])
        self.styled = torch.stack(
            [torch.stack([self.vectors[numbers[styled(name, style)]] for style in pictures.styles]) for name in names]
        )

    def draw(self, generator: torch.Generator) -> torch.Tensor:
        """One caption's vector for every concept (concepts, embed_dim)."""
        drawn = torch.multinomial(self.weights, 1, generator=generator)
        return self.vectors[self.choices.gather(1, drawn)[:, 0]]


def texts_of(pictures: dataset.Pictures) -> list[str]:
    """Every text that `Texts` asks for."""
    captions = {text for concept in pictures.concepts for text, _ in captions_of(concept)}
    names = [plain(concept["label"]) for concept in pictures.concepts]
    return sorted(captions | {styled(name, style) for name in names for style in pictures.styles})


def name_loss(
    seen: torch.Tensor,
    texts: Texts,
    concept: torch.Tensor,
    style: torch.Tensor,
    tower: ImageTower,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of naming pictures (B, embed_dim) among ALL concepts, and among all styles of their own concept.

    The texts cost nothing, their tower being locked, so that every picture meets every concept in every step.
    """
    names = F.normalize(tower.text_head(texts.draw(generator)), dim=1)
    scores = tower.logit_scale.exp().clamp(max=100) * seen @ names.T
    styled = F.normalize(tower.text_head(texts.styled[concept]), dim=2)
    of_style = torch.einsum("bd,bsd->bs", seen, styled) * tower.style_scale.exp().clamp(max=200)
    named = F.cross_entropy(scores, concept, label_smoothing=0.05)
    return named, F.cross_entropy(of_style, style)


@torch.no_grad()
def score(tower: ImageTower, pictures: dataset.Pictures, texts: Texts) -> dict[str, float]:
    """Share of pictures whose own label is first, or among the first five, of all labels (unseen style of a known
    concept) and of the unseen labels (unseen concepts)."""
    found: dict[str, float] = {}
    tower.eval()
    for name, chosen in (("unseen_style", pictures.unseen_style), ("unseen_concept", pictures.unseen_concept)):
        rows = np.flatnonzero(chosen)
        if not len(rows):
            continue
        images = dataset.composite(torch.from_numpy(pictures.rgba[rows]), torch.ones(len(rows), 3))
        with torch.autocast("cpu", torch.bfloat16):
            seen = torch.cat([tower(chunk) for chunk in images.split(128)])
        labels = F.normalize(tower.text_head(texts.labels), dim=1)
        concepts = torch.from_numpy(pictures.concept[rows])
        among = concepts.unique() if name == "unseen_concept" else torch.arange(len(pictures.concepts))
        ranked = (seen @ labels[among].T).topk(min(5, len(among)), dim=1).indices
        right = among[ranked] == concepts[:, None]
        found |= {
            f"{name}_top1": round(float(right[:, 0].float().mean()), 3),
            f"{name}_top5": round(float(right.any(dim=1).float().mean()), 3),
            f"{name}_labels": len(among),
        }
    tower.train()
    return found
