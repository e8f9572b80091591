"""Train the embedded x4 upscaler on rendered emoji: `python -m generator.training.upscaler --minutes 14`.

SwinIR (Liang et al. 2021, arXiv:2108.10257) in its lightweight form. What it is given is what the generators make:
64 px pictures out of the embedded VQGAN, some codes of them wrong, or plainly shrunk ones; what it must give is the
drawing at 256 px.
"""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from generator.models.vqgan import VQModel, load_mini
from generator.training import dataset, emoji_sets
from generator.training.command_line import command_line
from generator.training.degradation import disturb, neighbours_of
from generator.training.patches import PatchCoder, load_or_fit, nearest
from generator.training.reconstruction import edge_loss, psnr
from generator.training.run import Average, Budget, Stateful, schedule, sheet, train, write
from generator.upscaler.model import swinir

FACTOR = 4
SIZE = 64  # px, what the embedded generators draw
DISTURBED = (0.0, 0.03, 0.08)  # share of codes replaced by a near one, one low picture each after the plain one
PLAIN = 0.3  # share of crops from pictures shrunk, not drawn by the VQGAN


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the upscaler is trained, on crops of `crop` px of what it is given."""

    budget: Budget = field(default=Budget(minutes=14))
    embed_dim: int = 48
    depths: tuple[int, ...] = (4, 4)
    num_heads: tuple[int, ...] = (4, 4)
    batch: int = 8
    crop: int = 24
    rate: float = 1e-3
    seed: int = 0


GPU = Recipe(embed_dim=60, depths=(6, 6, 6, 6), num_heads=(6, 6, 6, 6), batch=32, crop=48, rate=5e-4)


@dataclass
class Pairs:
    """`high` (N, 256, 256, 3) uint8 and `low` (N, 1 + len(DISTURBED), 64, 64, 3) uint8 on the same plain colour."""

    high: np.ndarray
    low: np.ndarray
    unseen: np.ndarray  # (N,) bool: a concept that is not trained on


def network(recipe: Recipe) -> nn.Module:
    """A SwinIR that upscales bilinearly until it is trained: three channels carry the colours, its body is silent."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.meshgrid")
        model = swinir().SwinIR(  # img_size only decides which masks are stored: the smallest make a small file
            embed_dim=recipe.embed_dim,
            depths=list(recipe.depths),
            num_heads=list(recipe.num_heads),
            img_size=16,
            window_size=8,
            mlp_ratio=2.0,
            upscale=FACTOR,
            upsampler="pixelshuffledirect",
            drop_path_rate=0.0,
        )
    impulse = torch.zeros(9, 1, 3, 3)
    impulse[torch.arange(9), 0, torch.arange(9) // 3, torch.arange(9) % 3] = 1
    spread = F.interpolate(impulse, scale_factor=FACTOR, mode="bilinear", align_corners=False)
    spread = spread[:, 0, FACTOR : 2 * FACTOR, FACTOR : 2 * FACTOR]  # (9 neighbours, 4, 4 px of the middle)
    with torch.no_grad():
        nn.init.zeros_(model.conv_after_body.weight)
        nn.init.zeros_(model.conv_after_body.bias)
        last = model.upsample[0]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        for colour in range(3):
            nn.init.zeros_(model.conv_first.weight[colour])
            nn.init.zeros_(model.conv_first.bias[colour])
            model.conv_first.weight[colour, colour, 1, 1] = 1
            mine = slice(colour * FACTOR**2, (colour + 1) * FACTOR**2)
            last.weight[mine, colour] = spread.flatten(1).T.view(FACTOR**2, 3, 3)
    result: nn.Module = model
    return result


def shrink(high: torch.Tensor) -> torch.Tensor:
    """(B, 3, 4H, 4W) -> (B, 3, H, W), the mean of each 4 x 4 px."""
    return F.avg_pool2d(high, FACTOR)


@torch.no_grad()
def redraw(model: VQModel, codes: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Pictures (B, 3, H, W) the VQGAN draws from codes (B, h, w), `share` of them replaced by a near one."""
    codes = disturb(codes, neighbours_of(model.codebook), generator, share)
    with torch.autocast("cpu", torch.bfloat16):
        return model.decode(model.codes_to_z(codes)).float()


def to_bytes(images: torch.Tensor) -> np.ndarray:
    """(B, 3, H, W) in [0, 1] -> (B, H, W, 3) uint8."""
    return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def pairs_of(rgba: np.ndarray, coder: PatchCoder, model: VQModel, generator: torch.Generator) -> tuple[np.ndarray, ...]:
    """Drawings (B, 256, 256, 4) uint8 -> rows of Pairs' `high` and `low`, each shifted by up to 3 px at random."""
    shifts = torch.randint(FACTOR, (len(rgba), 2), generator=generator).tolist()
    rolled = np.stack([np.roll(picture, shift, (0, 1)) for picture, shift in zip(rgba, shifts, strict=True)])
    high = dataset.composite(torch.from_numpy(rolled), dataset.backgrounds(len(rgba), generator, white=0.85))
    plain = shrink(high)
    codes = nearest_codes(coder, model, plain)
    low = [plain, *(redraw(model, codes, share, generator) for share in DISTURBED)]
    return to_bytes(high), np.stack([to_bytes(images) for images in low], axis=1)


def nearest_codes(coder: PatchCoder, model: VQModel, images: torch.Tensor) -> torch.Tensor:
    """Codes (B, h, w) int64 of images (B, 3, H, W) in the model's own codebook."""
    z = coder.z(images).permute(0, 2, 3, 1)
    return nearest(z.reshape(-1, z.shape[-1]), model.codebook).view(z.shape[:3])


def load_or_prepare(
    source: Path, folder: Path, coder: PatchCoder, model: VQModel, seen: int = 2500, unseen: int = 120
) -> Pairs:
    """The pairs kept in `folder`, rendered from the packages in `source` first where there are none."""
    paths = [folder / f"upscaler-{name}.npy" for name in ("high", "low", "unseen")]
    if not all(path.is_file() for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        for path, array in zip(paths, prepare(source, coder, model, seen, unseen), strict=True):
            np.save(path, array)
    high, low, marks = (np.load(path, mmap_mode="r") for path in paths)
    return Pairs(high, low, marks)


def prepare(source: Path, coder: PatchCoder, model: VQModel, seen: int, unseen: int) -> tuple[np.ndarray, ...]:
    """Render `seen` training pictures and `unseen` of unseen concepts, drawn from every style."""
    index = json.loads((source / "index.json").read_text())
    concepts, styles = index["concepts"], index["styles"]
    found = {style: emoji_sets.drawings(source / "packages", style, concepts) for style in styles}
    draw = np.random.default_rng(0)
    listed = np.array(index["pictures"])
    rows = np.concatenate(
        [draw.permutation(listed[listed[:, 2] == split])[:count] for split, count in ((0, seen), (1, unseen))]
    )
    generator = torch.Generator().manual_seed(0)
    high, low, marks = [], [], []
    for start in range(0, len(rows), 50):
        rendered = [
            (emoji_sets.render(found[styles[style]][concepts[concept]["code"]], FACTOR * SIZE), split == 1)
            for concept, style, split in rows[start : start + 50]
        ]
        drawn = [(picture, mark) for picture, mark in rendered if picture is not None]
        above, below = pairs_of(np.stack([picture for picture, _ in drawn]), coder, model, generator)
        high.append(above)
        low.append(below)
        marks += [mark for _, mark in drawn]
        if start % 500 == 0:
            print(f"upscaler: {start} of {len(rows)} pictures rendered", flush=True)
    return np.concatenate(high), np.concatenate(low), np.array(marks)


def draw_batch(
    pairs: Pairs, rows: np.ndarray, count: int, crop: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops given (B, 3, crop, crop), rough as generated pictures are, and wanted (B, 3, 4 crop, 4 crop)."""
    room = pairs.low.shape[2] - crop + 1
    given, wanted = [], []
    for row in rows[torch.randint(len(rows), (count,), generator=generator).numpy()]:
        spots = torch.randint(room, (4, 2), generator=generator).tolist()
        plain = float(torch.rand(1, generator=generator)) < PLAIN
        kind = 0 if plain else 1 + int(torch.randint(pairs.low.shape[1] - 1, (1,), generator=generator))
        for y, x in spots:  # mostly empty crops teach little
            low = pairs.low[row, kind, y : y + crop, x : x + crop]
            if low.std() > 20:
                break
        given.append(low)
        top, left, side = FACTOR * y, FACTOR * x, FACTOR * crop
        wanted.append(pairs.high[row, top : top + side, left : left + side])
    low_crops, high_crops = (
        torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2).float() / 255 for part in (given, wanted)
    )
    turned = torch.randint(2, (3, count), generator=generator).bool()
    for dims, mask in zip(((2,), (3,)), turned[:2], strict=True):
        low_crops = torch.where(mask[:, None, None, None], low_crops.flip(dims), low_crops)
        high_crops = torch.where(mask[:, None, None, None], high_crops.flip(dims), high_crops)
    mask = turned[2][:, None, None, None]
    low_crops = torch.where(mask, low_crops.transpose(2, 3), low_crops)
    high_crops = torch.where(mask, high_crops.transpose(2, 3), high_crops)
    return roughen(low_crops, generator), high_crops


def roughen(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A third of the pictures slightly blurred, a third slightly noisy."""
    uniform = torch.rand(4, len(images), 1, 1, 1, generator=generator)
    amount = 0.5 * uniform[0] * (uniform[1] < 0.33)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    images = images + amount * (blurred - images)
    noise = torch.randn(images.shape, generator=generator)
    return (images + 0.02 * uniform[2] * (uniform[3] < 0.33) * noise).clamp(0, 1)


@torch.no_grad()
def score(model: nn.Module, pairs: Pairs) -> tuple[dict[str, float], list[torch.Tensor]]:
    """On unseen concepts: PSNR in dB, ours and bicubic, from shrunk and from redrawn pictures; rows to look at."""
    rows = np.flatnonzero(pairs.unseen)[::2]
    wanted = torch.from_numpy(pairs.high[rows]).permute(0, 3, 1, 2).float() / 255
    notes, shown = {}, []
    for name, kind in (("shrunk", 0), ("redrawn", 2)):
        given = torch.from_numpy(pairs.low[rows, kind]).permute(0, 3, 1, 2).float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            made = torch.cat([model(chunk).float().clamp(0, 1) for chunk in given.split(2)])
        bicubic = F.interpolate(given, scale_factor=FACTOR, mode="bicubic", align_corners=False).clamp(0, 1)
        notes[f"psnr_{name}"], notes[f"psnr_{name}_bicubic"] = psnr(made, wanted), psnr(bicubic, wanted)
        shown = [F.interpolate(given, scale_factor=FACTOR), bicubic, made, wanted]
    return notes, [part[:8] for part in shown]


def export(weights: dict[str, torch.Tensor], folder: Path, notes: dict[str, Any]) -> None:
    """Write mini-upscaler.safetensors (fp16; spandrel, and what uses it, reads the file as it is) and .json."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {
        key: (value.half() if value.is_floating_point() else value.short()).contiguous()
        for key, value in weights.items()
    }
    write(folder, "mini-upscaler", stored, {"architecture": "SwinIR", "notes": notes})


def run(recipe: Recipe, pairs: Pairs, *, folder: Path, output: Path | None = None) -> nn.Module:
    """Train, or go on with, an upscaler; `output` is where exports go. Returns it with its averaged weights."""
    torch.manual_seed(recipe.seed)
    model, averaged = network(recipe), network(recipe)
    average = Average(model, 0.995)
    optimiser = torch.optim.AdamW(model.parameters(), recipe.rate, betas=(0.9, 0.98), weight_decay=1e-4, fused=True)
    rows = np.flatnonzero(~pairs.unseen)

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(progress)
        given, wanted = draw_batch(pairs, rows, recipe.batch, recipe.crop, generator)
        with torch.autocast("cpu", torch.bfloat16):
            made = model(given).float()
        loss = (made - wanted).abs().mean() + 1.5 * edge_loss(made, wanted)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimiser.step()
        average.update()
        mse = float((made.detach().clamp(0, 1) - wanted).square().mean())
        return {"loss": float(loss.detach()), "psnr": -10 * math.log10(mse + 1e-9)}

    def report(number: int) -> None:
        averaged.load_state_dict(average.values)
        notes, shown = score(averaged.eval(), pairs)
        notes["steps"] = number
        print("upscaler", notes, flush=True)
        sheet(shown, folder / "upscaler-sheet.png", upscale=1)
        if output is not None:
            export(average.values, output, notes)

    parts: dict[str, Stateful] = {"model": model, "average": average, "optimiser": optimiser}
    train(
        step,
        parts,
        name="upscaler",
        folder=folder,
        budget=recipe.budget,
        seed=recipe.seed,
        report=report if pairs.unseen.any() else None,
        report_minutes=6,
    )
    averaged.load_state_dict(average.values)
    return averaged.eval()


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe(), gpu=GPU, own_folder=True)
    torch.set_num_threads(1)
    coder = load_or_fit(dataset.load(folders.data), folders.shared / "patches.pt")
    pairs = load_or_prepare(folders.data, folders.run, coder, load_mini())
    run(recipe, pairs, folder=folders.run, output=folders.output)


if __name__ == "__main__":
    main()
