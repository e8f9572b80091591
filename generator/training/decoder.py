"""Sharpen the embedded VQGAN's decoder by perceptual and adversarial losses: `python -m generator.training.decoder`.

As VQGAN is trained (Esser et al. 2021, arXiv:2012.09841), after `vqgan` has taught it shapes and colours and with codes
and encoder as they are, so that whatever draws codes need not learn anew. Perceptual: LPIPS. Adversarial: taming's
PatchGAN, hinge loss, weighed by both losses' gradients in the last layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from generator.models.lpips import LPIPS
from generator.models.vqgan import VQModel, load_mini
from generator.training import dataset, perception
from generator.training.command_line import command_line
from generator.training.critic import hinge_loss, patch_gan, weighed
from generator.training.degradation import disturb, neighbours_of
from generator.training.patches import PatchCoder, load_or_fit
from generator.training.reconstruction import batch_of, export, score, shape_loss
from generator.training.run import Average, Budget, schedule, sheet, train


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the decoder is trained: the weights of both losses, and the steps before the critic has a say."""

    budget: Budget = field(default=Budget(minutes=40))
    perceptual: float = 1.0
    adversarial: float = 0.4
    warmup_steps: int = 200
    batch: int = 12
    rate: float = 3e-4
    seed: int = 0


def run(
    recipe: Recipe,
    model: VQModel,
    pictures: dataset.Pictures,
    *,
    coder: PatchCoder,
    lpips: LPIPS,
    folder: Path,
    output: Path | None = None,
) -> VQModel:
    """Train, or go on with, the decoder of a finished VQGAN; `output` is where exports go."""
    torch.manual_seed(recipe.seed)
    critic = patch_gan()
    model.requires_grad_(False)
    parts = (model.decoder, model.post_quant_conv)
    for part in parts:
        part.requires_grad_(True)
    model.train()
    trained = [weight for part in parts for weight in part.parameters()]
    optimiser = torch.optim.AdamW(trained, lr=recipe.rate, betas=(0.5, 0.95), weight_decay=0)
    critic_optimiser = torch.optim.Adam(critic.parameters(), lr=recipe.rate, betas=(0.5, 0.95))
    average = Average(model, 0.998)
    rows = np.flatnonzero(pictures.train)
    neighbours = neighbours_of(coder.codebook)
    last = model.decoder.conv_out.weight

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in (*optimiser.param_groups, *critic_optimiser.param_groups):
            group["lr"] = recipe.rate * schedule(progress)
        drawn = rows[torch.randint(len(rows), (recipe.batch,), generator=generator).numpy()]
        wanted = batch_of(pictures, drawn, generator)
        codes = disturb(coder.codes(wanted), neighbours, generator)
        with torch.autocast("cpu", torch.bfloat16):
            z = model.codes_to_z(codes).contiguous(memory_format=torch.channels_last)
            made = model.decoder(model.post_quant_conv(z))
        made = (made.float() + 1) / 2
        with torch.autocast("cpu", torch.bfloat16):
            pair = [(side * 2 - 1).contiguous(memory_format=torch.channels_last) for side in (made, wanted)]
            perceptual = lpips(*pair).float().mean()
        critic_loss = hinge_loss(critic, made, wanted)
        critic_optimiser.zero_grad(set_to_none=True)
        critic_loss.backward()
        critic_optimiser.step()
        near = shape_loss(made, wanted) + recipe.perceptual * perceptual
        weight, adversarial = made.new_zeros(()), made.new_zeros(())
        if number >= recipe.warmup_steps:
            adversarial, weight = weighed(critic, made, near, last, recipe.adversarial)
        optimiser.zero_grad(set_to_none=True)
        (near + weight * adversarial).backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        average.update()
        named = (("near", near), ("perceptual", perceptual), ("critic", critic_loss), ("weight", weight))
        return {name: float(value.detach()) for name, value in named}

    def report(number: int) -> None:
        averaged = VQModel(model.config)
        averaged.load_state_dict(average.values)
        notes, shown = score(averaged, coder, pictures)
        notes |= {"steps": number, "samples": number * recipe.batch}
        print("decoder", notes, flush=True)
        sheet(shown, folder / "decoder-sheet.png")
        if output is not None:
            export(averaged, output, notes)

    state: dict[str, Any] = {"model": model, "critic": critic, "average": average}
    state |= {"makes": optimiser, "judges": critic_optimiser}
    train(
        step,
        state,
        name="decoder",
        folder=folder,
        budget=recipe.budget,
        seed=recipe.seed,
        report=report if pictures.unseen_concept.any() else None,
        report_minutes=7,
    )
    return model


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe())
    torch.set_num_threads(1)
    pictures = dataset.load(folders.data)
    run(
        recipe,
        load_mini(),
        pictures,
        coder=load_or_fit(pictures, folders.shared / "patches.pt"),
        lpips=perception.load(perception.fetch(folders.data / "packages")),
        folder=folders.run,
        output=folders.output,
    )


if __name__ == "__main__":
    main()
