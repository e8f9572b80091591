"""Train the image tower of the embedded CLIP against the locked text tower: `python -m generator.training.clip`.

Locked-image tuning turned round (LiT, Zhai et al. 2022, arXiv:2111.07991): texts are read once by their teacher or by
the distilled tower, and only the image tower and the logit scale are trained. Patches are dropped in training (FLIP,
Li et al. 2023, arXiv:2212.00794); pictures are cropped, turned and blurred as the cutouts of VQGAN + CLIP are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

from generator.clip import CONTEXT, MEAN, STD, openai_clip
from generator.training import data
from generator.training.captions import captions_of, plain
from generator.training.run import Average, Budget, schedule, train
from generator.training.text import HEADS, LAYERS, VOCABULARY, WIDTH, Reader, teach
from generator.vqgan import WEIGHTS

SCALES: dict[str, dict[str, Any]] = {
    "cpu": {"resolution": 64, "patch": 8, "width": 192, "layers": 6, "batch": 192, "rate": 1e-3},
    "gpu": {"resolution": 128, "patch": 16, "width": 512, "layers": 10, "batch": 1024, "rate": 1e-3},
}
KEPT = 0.55  # share of patches seen in training


class ImageTower(nn.Module):
    """openai-clip's VisionTransformer, with patches dropped in training."""

    def __init__(self, resolution: int, patch: int, width: int, layers: int, embed_dim: int) -> None:
        super().__init__()
        vision = openai_clip("model").VisionTransformer
        self.visual = vision(resolution, patch, width, layers, width // 64, embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(2.7))

    def forward(self, images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """images (B, 3, R, R) in [0, 1] -> unit vectors (B, embed_dim)."""
        visual: Any = self.visual
        images = (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
        x = visual.conv1(images).flatten(2).permute(0, 2, 1) + visual.positional_embedding[1:]
        if generator is not None:
            count = round(KEPT * x.shape[1])
            kept = torch.rand(x.shape[:2], generator=generator).topk(count, dim=1).indices
            x = x.gather(1, kept[:, :, None].expand(-1, -1, x.shape[2]))
        first = (visual.class_embedding + visual.positional_embedding[0]).expand(len(x), 1, -1)
        x = visual.ln_pre(torch.cat([first.to(x.dtype), x], dim=1))
        for block in visual.transformer.resblocks:
            x = attend(block, x)
        return F.normalize((visual.ln_post(x[:, 0]) @ visual.proj).float(), dim=1)


def attend(block: Any, x: torch.Tensor) -> torch.Tensor:
    """openai-clip's ResidualAttentionBlock on (B, L, width) by plain products, whose backward is faster on a CPU."""
    batch, length, width = x.shape
    heads = block.attn.num_heads
    qkv = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias)
    q, k, v = qkv.view(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-1, -2) * (width // heads) ** -0.5).softmax(dim=-1)
    x = x + block.attn.out_proj((weights.to(v.dtype) @ v).transpose(1, 2).reshape(batch, length, width))
    return x + block.mlp(block.ln_2(x))


def augment(pictures: data.Pictures, rows: np.ndarray, generator: torch.Generator) -> torch.Tensor:
    """Pictures (B, 3, R, R) as a guiding CLIP meets them: placed, cut out, tinted, blurred, noisy."""
    images = data.composite(
        torch.from_numpy(pictures.rgba[rows]),
        data.backgrounds(len(rows), generator),
        generator,
        scale=(0.7, 1.35),
        shift=0.1,
        flip=True,
        rotate=0.25,
    )
    count = len(rows)
    uniform = torch.rand(4, count, 1, 1, 1, generator=generator)
    images = (images - 0.5) * (0.75 + 0.5 * uniform[0]) + 0.5 + (uniform[1] - 0.5) * 0.2
    blurred = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    images = torch.where(uniform[2] < 0.3, blurred, images)
    noise = torch.randn(images.shape, generator=generator) * 0.08 * uniform[3].square()
    return (images + noise).clamp(0, 1)


class Texts:
    """Every caption's vector, and which captions a picture may have."""

    def __init__(self, pictures: data.Pictures, vectors: dict[str, torch.Tensor]) -> None:
        numbers = {text: number for number, text in enumerate(vectors)}
        self.vectors = torch.stack(list(vectors.values())).float()
        self.choices, self.weights = [], []
        for concept in pictures.concepts:
            pairs = captions_of(concept)
            self.choices.append(torch.tensor([numbers[text] for text, _ in pairs]))
            self.weights.append(torch.tensor([weight for _, weight in pairs]))
        self.labels = torch.stack([self.vectors[numbers[plain(concept["label"])]] for concept in pictures.concepts])

    def draw(self, concepts: np.ndarray, generator: torch.Generator) -> torch.Tensor:
        """One caption's vector for each concept (B, embed_dim)."""
        rows = [
            self.choices[concept][torch.multinomial(self.weights[concept], 1, generator=generator)[0]]
            for concept in concepts
        ]
        return self.vectors[torch.stack(rows)]


def contrast(images: torch.Tensor, texts: torch.Tensor, same: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Symmetric cross-entropy (CLIP), where all captions of one concept count as right; `same` (B, B) bool."""
    scores = scale.exp().clamp(max=100) * images @ texts.T
    wanted = same.float()
    rows = -(wanted / wanted.sum(dim=1, keepdim=True) * scores.log_softmax(dim=1)).sum(dim=1)
    columns = -(wanted / wanted.sum(dim=0, keepdim=True) * scores.log_softmax(dim=0)).sum(dim=0)
    return (rows.mean() + columns.mean()) / 2


@torch.no_grad()
def score(tower: ImageTower, pictures: data.Pictures, texts: Texts) -> dict[str, float]:
    """Share of pictures whose own label is first, or among the first five, of all labels (unseen style of a known
    concept) and of the unseen labels (unseen concepts)."""
    found: dict[str, float] = {}
    tower.eval()
    for name, chosen in (("unseen_style", pictures.unseen_style), ("unseen_concept", pictures.unseen_concept)):
        rows = np.flatnonzero(chosen)
        if not len(rows):
            continue
        images = data.composite(torch.from_numpy(pictures.rgba[rows]), torch.ones(len(rows), 3))
        with torch.autocast("cpu", torch.bfloat16):
            seen = torch.cat([tower(chunk) for chunk in images.split(128)])
        concepts = torch.from_numpy(pictures.concept[rows])
        among = concepts.unique() if name == "unseen_concept" else torch.arange(len(pictures.concepts))
        ranked = (seen @ texts.labels[among].T).topk(min(5, len(among)), dim=1).indices
        right = among[ranked] == concepts[:, None]
        found |= {
            f"{name}_top1": round(float(right[:, 0].float().mean()), 3),
            f"{name}_top5": round(float(right.any(dim=1).float().mean()), 3),
            f"{name}_labels": len(among),
        }
    tower.train()
    return found


def export(
    values: dict[str, torch.Tensor], reader: Reader, config: dict[str, Any], folder: Path, notes: dict[str, Any]
) -> None:
    """Write mini-clip.safetensors (fp16; openai-clip's keys, but only the trained token rows, int8) and .json."""
    weights = {key: value.detach().half().contiguous() for key, value in values.items()}
    for key, value in reader.tower.state_dict().items():
        if key == "index":
            weights["token_index"] = value.int()
        elif key == "token_embedding.weight":
            scale = value.abs().amax(dim=1) / 127
            weights["token_rows"] = (value / scale[:, None]).round().to(torch.int8)
            weights["token_scale"] = scale.half()
        else:
            weights[key] = value.half().contiguous()
    weights["text_projection"] = reader.projection.half().contiguous()
    save_file(weights, folder / "mini-clip.safetensors")
    (folder / "mini-clip.json").write_text(json.dumps({**config, "notes": notes}, indent=1) + "\n")


def run(
    pictures: data.Pictures,
    vectors: dict[str, torch.Tensor],
    folder: Path,
    budget: Budget,
    scale: str = "cpu",
    reader: Reader | None = None,
    weights: Path | None = None,
    batch: int | None = None,
    seed: int = 0,
    stop_after: int | None = None,
) -> ImageTower:
    """Train, or go on with, the image tower against the captions' `vectors`."""
    torch.manual_seed(seed)
    choice = SCALES[scale]
    texts = Texts(pictures, vectors)
    tower = ImageTower(choice["resolution"], choice["patch"], choice["width"], choice["layers"], texts.vectors.shape[1])
    average = Average(tower, 0.998)
    rate = choice["rate"]
    optimiser = torch.optim.AdamW(tower.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.1, fused=True)
    rows = np.flatnonzero(pictures.train)
    size = batch or choice["batch"]

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = rate * schedule(progress)
        drawn = rows[torch.randint(len(rows), (size,), generator=generator).numpy()]
        concepts = pictures.concept[drawn]
        wanted = texts.draw(concepts, generator)
        with torch.autocast("cpu", torch.bfloat16):
            made = tower(augment(pictures, drawn, generator), generator)
        numbers = torch.from_numpy(concepts)
        loss = contrast(made, wanted, numbers[:, None] == numbers[None, :], tower.logit_scale)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimiser.step()
        average.update()
        return {"loss": float(loss.detach()), "scale": float(tower.logit_scale.detach().exp())}

    def report(number: int) -> None:
        averaged = ImageTower(
            choice["resolution"], choice["patch"], choice["width"], choice["layers"], texts.vectors.shape[1]
        )
        averaged.load_state_dict(average.values)
        notes: dict[str, Any] = {"steps": number, "samples": number * size, **score(averaged, pictures, texts)}
        if reader is not None:
            notes["text_cosine_unseen_texts"] = round(reader.cosine, 4)
        print("clip", notes, flush=True)
        if weights is not None and reader is not None:
            config = {
                "embed_dim": texts.vectors.shape[1],
                "image_resolution": choice["resolution"],
                "vision_layers": choice["layers"],
                "vision_width": choice["width"],
                "vision_patch_size": choice["patch"],
                "context_length": CONTEXT,
                "vocab_size": VOCABULARY,
                "transformer_width": WIDTH,
                "transformer_heads": HEADS,
                "transformer_layers": LAYERS,
            }
            export(average.values, reader, config, weights, notes)

    train(
        folder,
        "clip",
        budget,
        {"tower": tower, "average": average, "optimiser": optimiser},
        step,
        report,
        report_minutes=6,
        seed=seed,
        stop_after=stop_after,
    )
    return tower


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/training"))
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--scale", choices=tuple(SCALES), default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.data / "runs"
    pictures = data.load(arguments.data)
    everything = sorted({text for concept in pictures.concepts for text, _ in captions_of(concept)})
    reader = Reader(folder) if (folder / "text-tower.pt").is_file() else None
    vectors = reader(everything) if reader is not None else teach(everything)
    print(f"{len(everything)} captions", flush=True)
    run(
        pictures,
        dict(zip(everything, vectors, strict=True)),
        folder,
        Budget(minutes=arguments.minutes),
        arguments.scale,
        reader,
        WEIGHTS,
    )


if __name__ == "__main__":
    main()
