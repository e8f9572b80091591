"""Train the embedded BigGAN on rendered emoji: `python -m generator.training.biggan --minutes 25`.

The game of two networks needs far more than minutes, so the generator learns alone, as a GLO (Bojanowski et al. 2018,
arXiv:1707.05776): every picture owns a z, learnt with the weights. It begins at the whitened principal components of
what its classes leave unexplained, so classes hold what pictures share and z holds what tells them apart. Blocks are
added one by one (Karras et al. 2018, arXiv:1710.10196): what can be learnt at 8 px costs a sixtieth there. Then the z
are made unit Gaussian by a matrix folded into the weights, and an MLP learns which z and group a text means.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from generator.models.biggan import MiniBigGAN
from generator.models.biggan_deep import BigGANBatchNorm, BigGANConfig, GenBlock
from generator.models.packing import pack
from generator.training import dataset, emoji_sets
from generator.training.biggan_examples import Seen, prepare, subgroup_names
from generator.training.command_line import command_line, flag
from generator.training.reconstruction import edge_loss, psnr
from generator.training.run import Average, Budget, Stateful, schedule, sheet, train, write
from generator.training.text_encoder import TextEncoder
from generator.training.validation_prompts import PROMPTS

LAYERS = [[True, 16, 8], [True, 8, 4], [True, 4, 2], [True, 2, 1]]  # 4 px to 64; upsampling, channels in and out
STAGES = ((0.08, 4), (0.2, 3), (0.45, 2), (1.0, 1))  # 8, 16, 32, 64 px: until this progress, times the scale's batch
SHAPING = 3  # blocks from which the z learn too; a picture of fewer px would shape numbers it does not show
REACH = 1.25  # greatest |z| in units of sqrt(z_dim)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the generator is trained, and within the same minutes what reads texts; `z_rate` is that of each z's Adam."""

    budget: Budget = field(default=Budget(minutes=25))
    text_budget: Budget = field(default=Budget(minutes=2), metadata=flag("of them, for what reads texts"))
    z_dim: int = 128
    channel_width: int = 48
    batch: int = 16
    rate: float = 1.5e-3
    z_rate: float = 0.03
    text_hidden: int = 512
    text_noise: float = 0.15
    text_batch: int = 256
    text_rate: float = 1e-3
    seed: int = 0
    device: str = "cpu"


GPU = Recipe(channel_width=96, batch=128, rate=1e-3, device="cuda")


def configuration(recipe: Recipe, seen: Seen) -> dict[str, Any]:
    """What MiniBigGAN is built from."""
    network = BigGANConfig(
        output_dim=seen.images.shape[-1],
        z_dim=recipe.z_dim,
        class_embed_dim=recipe.z_dim,
        channel_width=recipe.channel_width,
        num_classes=seen.classes.shape[1],
        layers=LAYERS,
        attention_layer_position=-1,
        n_stats=2,
    )
    names = {"groups": seen.groups, "styles": seen.styles}
    text = {"text_width": seen.features.shape[1], "text_hidden": recipe.text_hidden}
    return {"biggan": asdict(network), **names, **text}


def first_z(seen: Seen, z_dim: int, seed: int) -> torch.Tensor:
    """Where each picture's z begins, (M, z_dim): the whitened principal components of the picture, seen at 32 px,
    less what its group and style have in common."""
    small = torch.cat([F.avg_pool2d(chunk.float() / 255, 2) for chunk in seen.images.split(512)]).flatten(1)
    root = seen.weight.sqrt()[:, None] * len(seen.weight) ** 0.5
    ridge = torch.eye(seen.classes.shape[1])
    known = root * seen.classes
    shared = torch.linalg.solve(known.T @ known + ridge, known.T @ (root * small))
    rest = small - seen.classes @ shared
    torch.manual_seed(seed)
    kept = min(z_dim, *rest.shape)
    axes = torch.pca_lowrank(root * rest, q=kept, center=False, niter=3)[2]
    scores = rest @ axes
    z = torch.randn(len(rest), z_dim)
    z[:, :kept] = scores / (seen.weight[:, None] * scores.square()).sum(dim=0).sqrt()
    return within(z.clamp(-3, 3))


def within(z: torch.Tensor) -> torch.Tensor:
    """Rows of z longer than a Gaussian's would be, shortened (the paper's ball)."""
    longest = REACH * z.shape[1] ** 0.5
    within: torch.Tensor = z * (longest / z.norm(dim=1, keepdim=True)).clamp(max=1)
    return within


@torch.no_grad()
def zero_residuals(model: MiniBigGAN) -> None:
    """Every residual branch starts at zero and the picture white: such a network finds colours and shapes at once."""
    for module in model.network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
        if isinstance(module, BigGANBatchNorm):
            if module.conditional:
                nn.init.normal_(module.scale.weight, std=0.01)
                nn.init.normal_(module.offset.weight, std=0.02)
            else:
                module.weight.fill_(1.0)
                module.bias.fill_(0.0)
    generator = model.network.generator
    nn.init.normal_(generator.gen_z.weight, std=generator.gen_z.in_features**-0.5)
    nn.init.zeros_(generator.gen_z.bias)
    nn.init.normal_(model.network.embeddings.weight, std=0.7)
    for layer in generator.layers:
        assert isinstance(layer, GenBlock)  # no attention
        nn.init.zeros_(layer.conv_3.weight)
    rgb = generator.conv_to_rgb
    assert rgb.bias is not None
    nn.init.normal_(rgb.weight, std=0.02)
    rgb.bias.fill_(2.0)


@torch.no_grad()
def fold_whitening(model: MiniBigGAN, z: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Multiplies the root of z's covariance into every layer that reads z, so that a unit Gaussian gives the z that
    were learnt; the z (M, z_dim) in those terms."""
    second = (z * weight[:, None]).T @ z / weight.sum()
    values, axes = torch.linalg.eigh(second)
    root = axes @ (values.clamp(min=1e-4).sqrt()[:, None] * axes.T)
    for module in model.network.generator.modules():
        if isinstance(module, nn.Linear):
            module.weight[:, : model.z_dim] = module.weight[:, : model.z_dim] @ root
    gaussian: torch.Tensor = z @ torch.linalg.inv(root)
    return gaussian


@torch.no_grad()
def draw(model: MiniBigGAN, z: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Pictures (B, 3, R, R) on the CPU, 64 at a time."""
    device = next(model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16):
        made = [
            model.generate(some.to(device), kinds.to(device)).float().cpu()
            for some, kinds in zip(z.split(64), classes.split(64), strict=True)
        ]
    return torch.cat(made)


def train_generator(
    recipe: Recipe, seen: Seen, config: dict[str, Any], *, folder: Path
) -> tuple[MiniBigGAN, torch.Tensor]:
    """The generator, its moving average at the end, and the z (M, z_dim) of every picture."""
    torch.manual_seed(recipe.seed)
    device = recipe.device
    model = MiniBigGAN(config)
    zero_residuals(model)
    table = nn.Embedding.from_pretrained(first_z(seen, model.z_dim, recipe.seed), freeze=False, sparse=True)
    drawn = torch.multinomial(seen.weight, 256, replacement=True)
    model.measure(table.weight[drawn].detach(), seen.classes[drawn])
    model.to(device)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    average = Average(model.network, 0.995)
    weights = list(model.network.parameters())
    optimiser = torch.optim.Adam(weights, lr=recipe.rate, betas=(0.9, 0.98), fused=True)
    lazy = torch.optim.SparseAdam(table.parameters(), lr=recipe.z_rate, betas=(0.8, 0.95))

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for moved, own in ((optimiser, recipe.rate), (lazy, recipe.z_rate)):
            for group in moved.param_groups:
                group["lr"] = own * schedule(progress)
        blocks, times = next((at + 1, times) for at, (until, times) in enumerate(STAGES) if progress < until)
        rows = torch.multinomial(seen.weight, min(recipe.batch * times, len(seen.weight)), generator=generator)
        newest = model.network.generator.layers[blocks - 1]
        assert isinstance(newest, GenBlock)
        if not newest.conv_3.weight.any():  # its statistics are those of what reaches it now
            model.measure(table.weight[drawn].detach().to(device), seen.classes[drawn].to(device), newest)
        wanted = F.avg_pool2d(seen.images[rows].float() / 255, 2 ** (len(LAYERS) - blocks)).to(device)
        with torch.autocast(device, torch.bfloat16):
            made = model.generate(table(rows).to(device), seen.classes[rows].to(device), blocks=blocks)
        small, target = F.avg_pool2d(made, 4), F.avg_pool2d(wanted, 4)
        loss = (made - wanted).abs().mean() + 2 * (made - wanted).square().mean() + (small - target).abs().mean()
        loss = loss + edge_loss(made, wanted, min(3, blocks))
        optimiser.zero_grad(set_to_none=True)
        lazy.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        if blocks >= SHAPING:
            lazy.step()
            with torch.no_grad():
                table.weight[rows] = within(table.weight[rows])
        average.update()
        gap = float((made.detach() - wanted).square().mean())
        return {"loss": float(loss.detach()), "psnr": -10 * math.log10(gap + 1e-9), "px": made.shape[3]}

    def report(number: int) -> None:
        some = torch.multinomial(seen.weight, 20, generator=torch.Generator().manual_seed(1))
        z = table.weight.detach()
        random = within(torch.randn(20, model.z_dim, generator=torch.Generator().manual_seed(2)))
        rows = [seen.images[some].float() / 255]
        rows += [draw(model, z[some], seen.classes[some]), draw(model, random, seen.classes[some])]
        sheet(rows, folder / "biggan-sheet.png")

    parts: dict[str, Stateful] = {
        "model": model,
        "table": table,
        "optimiser": optimiser,
        "lazy": lazy,
        "average": average,
    }
    train(step, parts, name="biggan", folder=folder, budget=recipe.budget, seed=recipe.seed, report=report)
    if recipe.budget.stop_after is None:
        model.network.load_state_dict(average.values)
    return model, table.weight.detach().clone()


@torch.no_grad()
def sensitivity(model: MiniBigGAN, z: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """How much each number in z changes the pictures, (z_dim,) of mean 1, found by moving it at some pictures."""
    changed, small = [], 0.5
    before = draw(model, z, classes)
    for number in range(model.z_dim):
        moved = z.clone()
        moved[:, number] += small
        changed.append((draw(model, moved, classes) - before).square().mean())
    every = torch.stack(changed)
    return 0.1 + 0.9 * every / every.mean().clamp(min=1e-12)  # none is left out


def train_start(recipe: Recipe, model: MiniBigGAN, seen: Seen, *, z: torch.Tensor, folder: Path) -> None:
    """Teach `model.start` which z (M, z_dim) and which group a picture's captions mean."""
    torch.manual_seed(recipe.seed)
    start = model.start.cpu()
    average = Average(start, 0.998)
    optimiser = torch.optim.AdamW(start.parameters(), lr=recipe.text_rate, betas=(0.9, 0.98), weight_decay=0.02)
    groups = seen.classes[:, : len(seen.groups)].argmax(dim=1)
    styles = seen.classes[:, len(seen.groups) :].argmax(dim=1)
    some = torch.multinomial(seen.weight, 16, generator=torch.Generator().manual_seed(3))
    matters = sensitivity(model, z[some], seen.classes[some])

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = recipe.text_rate * schedule(progress)
        rows = torch.multinomial(seen.weight, recipe.text_batch, replacement=True, generator=generator)
        texts = torch.stack(
            [
                seen.captions[row][torch.multinomial(seen.caption_weight[row], 1, generator=generator)[0]]
                for row in rows.tolist()
            ]
        )
        text = seen.features[texts].float()
        text = text + recipe.text_noise * text.shape[1] ** -0.5 * torch.randn(text.shape, generator=generator)
        predicted, logits = start(text, styles[rows])
        gap = (matters * (predicted - z[rows]).square()).mean()
        confusion = F.cross_entropy(logits, groups[rows])
        optimiser.zero_grad(set_to_none=True)
        (gap + 0.2 * confusion).backward()
        optimiser.step()
        average.update()
        return {"z_gap": float(gap.detach()), "group": float(confusion.detach())}

    parts: dict[str, Stateful] = {"start": start, "optimiser": optimiser, "average": average}
    train(step, parts, name="biggan-text", folder=folder, budget=recipe.text_budget, seed=recipe.seed)
    if recipe.text_budget.stop_after is None:
        start.load_state_dict(average.values)


@torch.no_grad()
def from_texts(
    model: MiniBigGAN, features: torch.Tensor, style: int, noise: float = 0.0, seed: int = 0
) -> torch.Tensor:
    """Pictures (B, 3, R, R) of texts (B, text_width) in one style, `noise` times a unit Gaussian added to z."""
    styles = torch.full((len(features),), style)
    z, logits = model.start(features, styles)
    z = z + noise * torch.randn(z.shape, generator=torch.Generator().manual_seed(seed))
    return draw(model, z, model.start.classes(logits, styles))


def export(model: MiniBigGAN, config: dict[str, Any], folder: Path, notes: dict[str, Any]) -> None:
    """Write mini-biggan.safetensors and .json."""
    write(folder, "mini-biggan", pack(model.cpu().state_dict()), {**config, "notes": notes})


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe(), gpu=GPU, own_folder=True)
    torch.set_num_threads(1)
    folder = folders.run
    folder.mkdir(parents=True, exist_ok=True)
    own = replace(recipe.budget, minutes=recipe.budget.minutes - recipe.text_budget.minutes)
    recipe = replace(recipe, budget=own, device=recipe.device if torch.cuda.is_available() else "cpu")
    encode = TextEncoder(folders.shared)
    kept = folder / "biggan-examples.pt"
    if not kept.is_file():
        names = subgroup_names(emoji_sets.unpacked(folders.data / "packages", emoji_sets.LABELS))
        torch.save(vars(prepare(dataset.load(folders.data), encode, names)), kept)
    seen = Seen(**torch.load(kept, weights_only=True))
    config = configuration(recipe, seen)
    print(f"{len(seen.images)} pictures, {len(seen.features)} texts, {config['biggan']}", flush=True)
    model, z = train_generator(recipe, seen, config, folder=folder)
    z = fold_whitening(model, z, seen.weight)
    train_start(recipe, model, seen, z=z, folder=folder)
    model.to(recipe.device)
    some = torch.multinomial(seen.weight, 300, generator=torch.Generator().manual_seed(1))
    notes = {
        "psnr_trained_pictures": psnr(draw(model, z[some], seen.classes[some]), seen.images[some].float() / 255),
        "z_mean": round(float((seen.weight[:, None] * z).sum(dim=0).norm() / model.z_dim**0.5), 3),
        "pictures": len(seen.images),
    }
    print("biggan", notes, flush=True)
    model.cpu()
    text = encode(list(PROMPTS)).float()
    any_z = torch.randn(20, model.z_dim, generator=torch.Generator().manual_seed(2))
    rows = [seen.images[some[:20]].float() / 255, draw(model, z[some[:20]], seen.classes[some[:20]])]
    rows += [draw(model, truncation * any_z, seen.classes[some[:20]]) for truncation in (0.5, 1.0)]
    rows += [from_texts(model, text, style, noise) for style in (0, 1) for noise in (0.0, 0.3)]
    sheet(rows, folder / "biggan-sheet.png")
    export(model, config, folders.output, notes)


if __name__ == "__main__":
    main()
