"""Train the second family's CLIP: `python -m generator.training.relations --scale cpu --minutes 60`.

A ViT of 16 px patches (openai-clip's, Radford et al. 2021, arXiv:2103.00020) and the embedded CLIP's text tower, which
goes on learning. Every caption stands beside its opposite, colours or places exchanged, among the texts that a picture
is told from (NegCLIP, Yuksekgonul et al. 2023, arXiv:2210.01936). Pictures of one label are right for each other's
texts (UniCL, Yang et al. 2022, arXiv:2204.03610).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from generator.models.clip import WEIGHTS, ClipModel, from_state_dict, scatter_tokens
from generator.models.clip import load_mini as load_clip
from generator.models.packing import pack, unpack
from generator.tokens import openai_clip
from generator.training import pairs as pairs_module
from generator.training.command_line import command_line, flag
from generator.training.pairs import Batch, Pairs, on_device
from generator.training.parts import Keep, read_parts, write_parts
from generator.training.run import Average, Budget, schedule, train

NAME = "clip"
PATCH = 16  # px
TEXT_RATE = 0.2  # of the tower that has learnt before


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How both towers are trained."""

    budget: Budget = field(default=Budget(minutes=60))
    side: int = field(default=128, metadata=flag("px of the pictures, as the data has them"))
    width: int = 192
    layers: int = 6
    batch: int = field(default=64, metadata=flag("pictures a step"))
    rate: float = 8e-4
    seed: int = 0
    report_minutes: float = field(default=6.0, metadata=flag("between two exports"))


GPU = Recipe(width=256, layers=6, batch=768, rate=8e-4, report_minutes=0.75)


def network_of(recipe: Recipe, known: ClipModel) -> Any:
    """openai-clip's CLIP, its text tower with what the embedded one has learnt."""
    said = {key: value for key, value in known.network.state_dict().items() if not key.startswith("visual.")}
    width = said["ln_final.weight"].shape[0]
    network = openai_clip("model").CLIP(
        embed_dim=said["text_projection"].shape[1],
        image_resolution=recipe.side,
        vision_layers=recipe.layers,
        vision_width=recipe.width,
        vision_patch_size=PATCH,
        context_length=said["positional_embedding"].shape[0],
        vocab_size=said["token_embedding.weight"].shape[0],
        transformer_width=width,
        transformer_heads=width // 64,
        transformer_layers=len(known.network.transformer.resblocks),
    )
    network.load_state_dict(said, strict=False)
    return network


def pair_loss(seen: Tensor, read: Tensor, wrong: Tensor, batch: Batch, scale: Tensor, other: Tensor) -> Tensor:
    """seen, read (B, D) unit vectors of pictures and texts; wrong (O, D) of the texts' opposites; other (O, B): whose
    opposite each is, and the only picture it is a wrong answer for."""
    right = (batch.label[:, None] == batch.label[None]).float()
    right = right / right.sum(dim=1, keepdim=True)
    scores = scale * seen @ read.T
    beside = (scale * seen @ wrong.T).masked_fill(~other.T, float("-inf"))
    named = torch.cat([scores, beside], dim=1).log_softmax(dim=1)[:, : len(read)]
    found = scores.T.log_softmax(dim=1)
    return -((right * named).sum(dim=1).mean() + (right * found).sum(dim=1).mean()) / 2


@torch.no_grad()
def score(clip: ClipModel, pairs: Pairs, count: int = 256) -> dict[str, float]:
    """Of pictures placed anew: how often their own text is nearer than its opposite, and how often it is the nearest of
    all drawn."""
    generator = torch.Generator(pairs.device).manual_seed(2)
    batch = pairs.draw(count, generator)
    with torch.autocast(pairs.device.type, torch.bfloat16):
        seen, read = clip.encode_image(batch.images), _read(clip, pairs.tokens[batch.text])
        has = pairs.opposite[batch.text] >= 0
        wrong = _read(clip, pairs.tokens[pairs.opposite[batch.text][has]])
    nearer = (seen[has] * read[has]).sum(dim=1) > (seen[has] * wrong).sum(dim=1)
    first = batch.label[(seen @ read.T).argmax(dim=1)] == batch.label
    return {"bound": round(float(nearer.float().mean()), 3), "named": round(float(first.float().mean()), 3)}


def _read(clip: ClipModel, tokens: Tensor) -> Tensor:
    """tokens (B, 77) -> unit vectors (B, D)."""
    states, said = clip.states(tokens)
    ends = states[torch.arange(len(states), device=states.device), said.sum(dim=1) - 1]
    return F.normalize((ends @ clip.network.text_projection).float(), dim=1)


def run(recipe: Recipe, pairs: Pairs, known: ClipModel, *, folder: Path, keep: Keep | None = None) -> ClipModel:
    """Train, or go on with, a CLIP; `keep` is given what there is at every report."""
    torch.manual_seed(recipe.seed)
    device = pairs.device
    clip = ClipModel(network_of(recipe, known), "family").to(device)
    average = Average(clip.network, 0.998)
    fresh = [*clip.network.visual.parameters(), clip.network.logit_scale]
    learnt = [weight for name, weight in clip.network.named_parameters() if not name.startswith(("visual.", "logit"))]
    groups = [{"params": fresh, "share": 1.0}, {"params": learnt, "share": TEXT_RATE}]
    optimiser = torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.05, fused=True)

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        for group in optimiser.param_groups:
            group["lr"] = group["share"] * recipe.rate * schedule(progress)
        here = on_device(generator, device)
        batch = pairs.draw(recipe.batch, here)
        opposite = pairs.opposite[batch.text]
        owner = (opposite >= 0).nonzero().flatten()
        with torch.autocast(device.type, torch.bfloat16):
            seen = clip.encode_image(batch.images)
            both = _read(clip, torch.cat([pairs.tokens[batch.text], pairs.tokens[opposite[owner]]]))
        read, wrong = both[: recipe.batch], both[recipe.batch :]
        other = owner[:, None] == torch.arange(recipe.batch, device=device)[None]
        loss = pair_loss(seen, read, wrong, batch, clip.network.logit_scale.exp().clamp(max=100), other)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(clip.network.parameters(), 1.0)
        optimiser.step()
        average.update()
        return {"loss": loss.detach()}

    def report(number: int) -> None:
        averaged = from_state_dict({key: value.clone() for key, value in average.values.items()}, "family").to(device)
        notes: dict[str, Any] = {"steps": number, "pictures": number * recipe.batch, **score(averaged, pairs)}
        print(NAME, notes, flush=True)
        if keep is not None:
            keep(NAME, packed(average.values, pairs), {"notes": notes})

    train(
        step,
        {"network": clip.network, "average": average, "optimiser": optimiser},
        name=NAME,
        folder=folder,
        budget=recipe.budget,
        seed=recipe.seed,
        report=report,
        report_minutes=recipe.report_minutes,
    )
    return from_state_dict({key: value.clone() for key, value in average.values.items()}, "family").to(device)


def packed(values: dict[str, Tensor], pairs: Pairs) -> dict[str, Tensor]:
    """As the embedded CLIPs are stored: large matrices as int8, and of the token table the rows that are known."""
    known = load_file(WEIGHTS / "mini-clip.safetensors")["token_index"].long()
    index = torch.cat([known, pairs.tokens.cpu().unique()]).unique().to(values["token_embedding.weight"].device)
    weights = {key: value for key, value in values.items() if key != "token_embedding.weight"}
    rows = {"token_rows": values["token_embedding.weight"][index], "token_index": index.int()}
    return pack(weights | rows)


def load(folder: Path) -> ClipModel:
    """The CLIP whose parts are there. Raises FileNotFoundError."""
    weights = unpack(read_parts(folder, NAME)[0])
    vocabulary = len(load_clip().network.token_embedding.weight)
    table = scatter_tokens(weights.pop("token_rows"), weights.pop("token_index"), vocabulary)
    return from_state_dict(weights | {"token_embedding.weight": table}, "family")


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe(), gpu=GPU, own_folder=True, exports=False)
    pairs = pairs_module.load_of(recipe.side, folders.data)
    run(
        recipe,
        pairs,
        load_clip(),
        folder=folders.run,
        keep=partial(write_parts, folders.run),
    )


if __name__ == "__main__":
    main()
