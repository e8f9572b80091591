"""Train the second family's VQGAN, 8 px a code: `python -m generator.training.unit_vqgan --scale cpu --minutes 60`.

Encoder, codes and decoder learn together (Esser et al. 2021, arXiv:2012.09841). Codes are of few numbers and unit
length and looked up by direction (Yu et al. 2022, arXiv:2110.04627); each follows the mean of what falls to it (van den
Oord et al. 2017, arXiv:1711.00937, appendix A.1), and one that nothing falls to begins anew at a z of the batch. Some
pictures are drawn from z itself, some from z with noise: so neighbours in z look alike, and a flow may draw there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generator.fused import kernels
from generator.fused.modules import fuse_decoder, fuse_encoder
from generator.models.lpips import LPIPS
from generator.models.vqgan import VQModel
from generator.training import pairs as pairs_module
from generator.training import perception
from generator.training.command_line import command_line, flag
from generator.training.critic import hinge_loss, patch_gan, weighed
from generator.training.pairs import Pairs, on_device
from generator.training.parts import Keep, write_parts
from generator.training.reconstruction import psnr, shape_loss
from generator.training.run import Average, Budget, schedule, sheet, train

NAME = "vqgan"
DIRECT, NOISED, NOISE = 0.2, 0.3, 0.35  # shares drawn from z itself and from z with noise of up to so much
FORGETS, FEWEST, ANEW_EVERY = 0.98, 0.02, 20  # of the codes' means; hits a step below which a code begins anew
COMMITMENT = 0.25


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the VQGAN is trained. `looks` is the side in px of what LPIPS and critic are shown of a picture, and
    `critic_from` how much of the budget passes before the critic has a say."""

    budget: Budget = field(default=Budget(minutes=60))
    side: int = field(default=128, metadata=flag("px of the pictures, as the data has them"))
    ch: int = 32
    ch_mult: tuple[int, ...] = (1, 1, 2, 4)
    n_embed: int = 4096
    embed_dim: int = 8
    batch: int = field(default=8, metadata=flag("pictures a step"))
    looks: int = 64
    perceptual: float = 1.0
    adversarial: float = 0.3
    critic_from: float = 0.4
    rate: float = 8e-4
    seed: int = 0
    report_minutes: float = field(default=5.0, metadata=flag("between two exports"))


GPU = Recipe(ch=64, ch_mult=(1, 1, 2, 3), batch=96, looks=128, rate=6e-4, report_minutes=0.75)


def configuration(recipe: Recipe) -> dict[str, Any]:
    """A taming `model.params` dict."""
    details = {
        "double_z": False,
        "z_channels": 128,
        "resolution": recipe.side,
        "in_channels": 3,
        "out_ch": 3,
        "ch": recipe.ch,
        "ch_mult": list(recipe.ch_mult),
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    codes = {"embed_dim": recipe.embed_dim, "n_embed": recipe.n_embed, "unit": True}
    return {**codes, "ddconfig": details, "gumbel": False, "attention": False, "norm_groups": 8}


class Codes(nn.Module):
    """The codebook as it is learnt: how much falls to each code in a step, and the sum of it, both running means."""

    def __init__(self, model: VQModel) -> None:
        super().__init__()
        self.hits: Tensor
        self.sums: Tensor
        self.register_buffer("hits", torch.ones(model.n_embed))
        self.register_buffer("sums", F.normalize(torch.randn(model.n_embed, model.e_dim), dim=1))

    @torch.no_grad()
    def follow(self, model: VQModel, z: Tensor, codes: Tensor, number: int, generator: torch.Generator) -> None:
        """z (B, C, h, w) of unit length and the codes (B, h, w) it fell to move the codebook."""
        flat, rows = z.float().permute(0, 2, 3, 1).reshape(-1, model.e_dim), codes.flatten()
        self.hits.lerp_(torch.bincount(rows, minlength=len(self.hits)).to(self.hits), 1 - FORGETS)
        self.sums.lerp_(torch.zeros_like(self.sums).index_add_(0, rows, flat), 1 - FORGETS)
        if number % ANEW_EVERY == 0:
            few = (self.hits < FEWEST).nonzero().flatten()
            drawn = torch.randint(len(flat), (len(few),), generator=generator, device=flat.device)
            self.sums[few], self.hits[few] = flat[drawn], 1.0
        model.codebook.copy_(F.normalize(self.sums, dim=1))


def spoilt(z: Tensor, q: Tensor, model: VQModel, generator: torch.Generator) -> Tensor:
    """What the decoder draws from: the codes q, or z itself, or the codes nearest to z with noise; all (B, C, h, w)."""
    chance = torch.rand(len(z), 1, 1, 1, generator=generator, device=z.device)
    strength = NOISE * torch.rand(len(z), 1, 1, 1, generator=generator, device=z.device)
    noise = torch.randn(z.shape, generator=generator, device=z.device) * z.shape[1] ** -0.5
    noisy = model.quantise(F.normalize(z.detach() + strength * noise, dim=1))[0]
    through = z + (noisy - z).detach()
    return torch.where(chance < DIRECT, z, torch.where(chance < DIRECT + NOISED, through, q))


def crop(images: tuple[Tensor, Tensor], side: int, generator: torch.Generator) -> list[Tensor]:
    """The same square of both, of so many px; the whole of them where they are no larger."""
    room = images[0].shape[2] - side
    if room <= 0:
        return list(images)
    y, x = torch.randint(room + 1, (2,), generator=generator, device=generator.device).tolist()
    return [part[:, :, y : y + side, x : x + side] for part in images]


@torch.no_grad()
def score(model: VQModel, pairs: Pairs, count: int = 64) -> tuple[dict[str, float], list[Tensor]]:
    """PSNR in dB through encoder, codes and decoder of pictures as they are in the data, and rows to look at."""
    rows = torch.arange(0, len(pairs.rgba), max(1, len(pairs.rgba) // count), device=pairs.device)[:count]
    generator = torch.Generator(pairs.device).manual_seed(1)
    wanted, made, codes = pairs.placed(rows, generator, white=1.0), [], []
    for part in wanted.split(16):
        with torch.autocast(part.device.type, torch.bfloat16):
            z, code = model.quantise(model.encode(part).float())
            made.append(model.decode(z).float())
        codes.append(code)
    drawn = torch.cat(made)
    notes = {"psnr": psnr(drawn, wanted), "codes_used": float(torch.cat(codes).unique().numel())}
    return notes, [part[:16] for part in (wanted, drawn)]


def run(recipe: Recipe, pairs: Pairs, lpips: LPIPS, *, folder: Path, keep: Keep | None = None) -> VQModel:
    """Train, or go on with, the VQGAN; `keep` is given what there is at every report. Returns the averaged model."""
    torch.manual_seed(recipe.seed)
    device = pairs.device
    model, averaged = (VQModel(configuration(recipe)).to(device) for _ in range(2))
    model.quantize.requires_grad_(False)
    critic, codes = patch_gan(64 if device.type == "cuda" else 32, 3).to(device), Codes(model).to(device)
    model.codebook.copy_(codes.sums)
    lpips = lpips.to(device)
    for part in (model, critic, lpips):
        part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cpu" and kernels.available():
        fuse_encoder(model.encoder)
        fuse_decoder(model.decoder)
    average = Average(model, 0.998)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=1e-4, fused=True)
    critic_optimiser = torch.optim.Adam(critic.parameters(), lr=recipe.rate, betas=(0.5, 0.95), fused=True)
    last = model.decoder.conv_out.weight

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        for group in (*optimiser.param_groups, *critic_optimiser.param_groups):
            group["lr"] = recipe.rate * schedule(progress)
        here = on_device(generator, device)
        wanted = pairs.draw(recipe.batch, here).images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            z = model.encode(wanted)
        z = F.normalize(z.float(), dim=1)
        q, chosen = model.quantise(z)
        with torch.autocast(device.type, torch.bfloat16):
            made = model.decoder(model.post_quant_conv(spoilt(z, q, model, here)))
        made = (made.float() + 1) / 2
        gap = (z - model.codes_to_z(chosen)).square().sum(dim=1).mean()
        seen, real = crop((made, wanted), recipe.looks, here)
        with torch.autocast(device.type, torch.bfloat16):
            perceptual = lpips(seen * 2 - 1, real * 2 - 1).float().mean()
        near = shape_loss(made, wanted) + recipe.perceptual * perceptual + COMMITMENT * gap
        judged, weight, critic_loss = (made.new_zeros(()) for _ in range(3))
        if progress > recipe.critic_from:
            critic_loss = hinge_loss(critic, seen, real)
            critic_optimiser.zero_grad(set_to_none=True)
            critic_loss.backward()
            critic_optimiser.step()
            judged, weight = weighed(critic, seen, near, last, recipe.adversarial)
        optimiser.zero_grad(set_to_none=True)
        (near + weight * judged).backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        codes.follow(model, z.detach(), chosen, number, here)
        average.update()
        mse = (made.detach().clamp(0, 1) - wanted).square().mean()
        losses = {"near": near, "perceptual": perceptual, "commitment": gap, "critic": critic_loss}
        return {name: loss.detach() for name, loss in losses.items()} | {"psnr": -10 * (mse + 1e-9).log10()}

    def newest() -> VQModel:
        averaged.load_state_dict(average.values)
        averaged.codebook.data.copy_(F.normalize(averaged.codebook, dim=1))
        return averaged.eval().requires_grad_(False)

    def report(number: int) -> None:
        notes, shown = score(newest(), pairs)
        notes |= {"steps": number, "pictures": number * recipe.batch}
        print(NAME, notes, flush=True)
        sheet(shown, folder / f"{NAME}-sheet.png", upscale=1)
        if keep is not None:
            keep(NAME, dict(averaged.state_dict()), {"config": averaged.config, "notes": notes})

    parts: dict[str, Any] = {"model": model, "codes": codes, "critic": critic, "average": average}
    train(
        step,
        {**parts, "makes": optimiser, "judges": critic_optimiser},
        name=NAME,
        folder=folder,
        budget=recipe.budget,
        seed=recipe.seed,
        report=report,
        report_minutes=recipe.report_minutes,
    )
    return newest()


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe(), gpu=GPU, own_folder=True, exports=False)
    pairs = pairs_module.load_of(recipe.side, folders.data)
    lpips = perception.load(perception.fetch(folders.data / "packages"))
    run(
        recipe,
        pairs,
        lpips,
        folder=folders.run,
        keep=partial(write_parts, folders.run),
    )


if __name__ == "__main__":
    main()
