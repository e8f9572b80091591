"""Train the image tower of the embedded CLIP, or of its judge: `python -m generator.training.clip --role clip|judge`.

Locked-image tuning turned round (LiT, Zhai et al. 2022, arXiv:2111.07991): texts are read once by the distilled tower,
and only the image tower, the scales and one matrix on the text's side are trained. Pictures are placed, turned and
blurred as the cutouts of VQGAN + CLIP are. The image tower begins as ImageNet's EfficientNet-lite, which a processor
core turns to emoji in half an hour; a ModifiedResNet from nothing had learned next to nothing in its first minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from generator.models.packing import pack
from generator.models.vqgan import VQModel
from generator.models.vqgan import load_mini as load_vqgan
from generator.tokens import CONTEXT
from generator.training import dataset
from generator.training.command_line import command_line, flag
from generator.training.image_tower import ImageTower, published
from generator.training.run import Average, Budget, schedule, train, write
from generator.training.style_classifier import STEPS, fit_style_head
from generator.training.text_encoder import HEADS, LAYERS, VOCABULARY, WIDTH, TextEncoder
from generator.training.zero_shot import STYLE_SHARE, Texts, augment, name_loss, score, texts_of

# the guide and its judge: another network, another seed, other texts drawn
ROLES: dict[str, dict[str, Any]] = {"clip": {"variant": "lite0", "seed": 0}, "judge": {"variant": "lite2", "seed": 7}}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an image tower is trained: the first `frozen` blocks stay as they are, and the judge's head that tells styles
    apart has `style_steps` of its own."""

    budget: Budget = field(default=Budget(minutes=45))
    role: str = field(default="clip", metadata=flag("the CLIP that guides, or its judge", choices=tuple(ROLES)))
    resolution: int = 96
    frozen: int = 5
    style_steps: int = STEPS
    batch: int = 96
    rate: float = 6e-4


GPU = Recipe(resolution=128, frozen=0, batch=512, rate=1e-3)


def export(
    recipe: Recipe, values: dict[str, torch.Tensor], text_encoder: TextEncoder, *, folder: Path, known: dict[str, Any]
) -> None:
    """Write mini-<role>.safetensors (packed) and .json: the whole of the guide under openai-clip's keys, but only the
    trained token rows; of the judge what it does not share with the guide. `known` is what the .json says beside the
    shapes: styles and notes."""
    config = {
        "embed_dim": text_encoder.projection.shape[1],
        "image_resolution": recipe.resolution,
        "vision": ROLES[recipe.role]["variant"],
        "styles": known["styles"],
        "context_length": CONTEXT,
        "vocab_size": VOCABULARY,
        "transformer_width": WIDTH,
        "transformer_heads": HEADS,
        "transformer_layers": LAYERS,
        "notes": known["notes"],
    }
    head = values["text_head.weight"].T  # folded into the projection
    tower = {
        key: value
        for key, value in values.items()
        if key.startswith(("visual.", "style_head.")) or key == "logit_scale"
    }
    weights = pack(tower)
    projections = {
        "source_projection": text_encoder.projection.contiguous(),
        "text_projection": text_encoder.projection @ head,
    }
    if recipe.role == "judge":
        projections.pop("source_projection")
        write(folder, "mini-judge", weights | pack(projections), config)
        return
    text = dict(text_encoder.tower.state_dict())
    weights["token_index"] = text.pop("index").int()
    text["token_rows"] = text.pop("token_embedding.weight")
    weights |= pack({**text, **projections})
    write(folder, "mini-clip", weights, config)


def run(
    recipe: Recipe,
    pictures: dataset.Pictures,
    vectors: dict[str, torch.Tensor],
    *,
    folder: Path,
    text_encoder: TextEncoder | None = None,
    output: Path | None = None,
    backbone: dict[str, torch.Tensor] | None = None,
    vqgan: VQModel | None = None,
) -> ImageTower:
    """Train, or go on with, the image tower against the `vectors` of `texts_of`; `vqgan` is for the judge's styles.
    With a text encoder and an `output` both are exported."""
    variant, seed = ROLES[recipe.role]["variant"], ROLES[recipe.role]["seed"]
    torch.manual_seed(seed)
    texts = Texts(pictures, vectors)
    shape = variant, recipe.resolution, texts.vectors.shape[1]
    tower = ImageTower(*shape)
    if backbone is not None:
        tower.visual.load_state_dict(backbone, strict=False)
    average = Average(tower, 0.998)
    heads = (tower.text_head, tower.visual.project)
    fresh = [tower.logit_scale, tower.style_scale, *(p for head in heads for p in head.parameters())]
    known = [p for p in tower.visual.parameters() if p.requires_grad and all(p is not other for other in fresh)]
    groups = [{"params": known, "share": 0.5}, {"params": fresh, "share": 2.0}]
    optimiser = torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
    rows = np.flatnonzero(pictures.train)

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = group["share"] * recipe.rate * schedule(progress)
        drawn = rows[torch.randint(len(rows), (recipe.batch,), generator=generator).numpy()]
        concept, style = torch.from_numpy(pictures.concept[drawn]), torch.from_numpy(pictures.style[drawn])
        with torch.autocast("cpu", torch.bfloat16):
            seen = tower(augment(pictures, drawn, generator), recipe.frozen)
        named, of_style = name_loss(seen, texts, concept, style, tower, generator)
        optimiser.zero_grad(set_to_none=True)
        (named + STYLE_SHARE * of_style).backward()
        nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimiser.step()
        average.update()
        return {"named": float(named.detach()), "style": float(of_style.detach())}

    def report(number: int) -> None:
        averaged = ImageTower(*shape)
        averaged.load_state_dict(average.values)
        values = dict(average.values)
        notes: dict[str, Any] = {"steps": number, "samples": number * recipe.batch, **score(averaged, pictures, texts)}
        if recipe.role == "judge":
            head, known = fit_style_head(averaged.eval(), pictures, vqgan, steps=recipe.style_steps)
            values |= {f"style_head.{key}": value for key, value in head.state_dict().items()}
            notes |= known
        if text_encoder is not None:
            notes["text_cosine_unseen_texts"] = round(text_encoder.cosine, 4)
        print(recipe.role, notes, flush=True)
        if output is not None and text_encoder is not None:
            export(recipe, values, text_encoder, folder=output, known={"styles": pictures.styles, "notes": notes})

    train(
        step,
        {"tower": tower, "average": average, "optimiser": optimiser},
        name=recipe.role,
        folder=folder,
        budget=recipe.budget,
        seed=seed,
        report=report,
        report_minutes=6,
    )
    return tower


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe(), gpu=GPU)
    torch.set_num_threads(1)
    pictures = dataset.load(folders.data)
    everything, text_encoder = texts_of(pictures), TextEncoder(folders.shared)
    print(f"{len(everything)} texts", flush=True)
    run(
        recipe,
        pictures,
        dict(zip(everything, text_encoder(everything), strict=True)),
        folder=folders.run,
        text_encoder=text_encoder,
        output=folders.output,
        backbone=published(ROLES[recipe.role]["variant"]),
        vqgan=load_vqgan() if recipe.role == "judge" else None,
    )


if __name__ == "__main__":
    main()
