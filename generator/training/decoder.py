"""Sharpen the embedded VQGAN's decoder by perceptual and adversarial losses: `python -m generator.training.decoder`.

As VQGAN is trained (Esser et al. 2021, arXiv:2012.09841), after `vqgan` has taught it shapes and colours and with codes
and encoder as they are, so that whatever draws codes need not learn anew. Perceptual: LPIPS. Adversarial: taming's
PatchGAN, hinge loss, weighed by both losses' gradients in the last layer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from taming.modules.discriminator.model import NLayerDiscriminator, weights_init

from generator.models.lpips import LPIPS
from generator.models.vqgan import VQGAN, load_mini
from generator.training import data, perception
from generator.training.patches import PatchCoder, load_or_fit
from generator.training.run import Average, Budget, command_line, schedule, sheet, train
from generator.training.vqgan import batch_of, disturb, export, neighbours_of, score, shape_loss

BATCH, RATE = 12, 3e-4
PERCEPTUAL, ADVERSARIAL, WARM = 1.0, 0.4, 200  # weights, and the steps before the critic has a say


def run(
    model: VQGAN,
    pictures: data.Pictures,
    coder: PatchCoder,
    lpips: LPIPS,
    folder: Path,
    budget: Budget,
    batch: int = BATCH,
    warm: int = WARM,
    export_to: Callable[[VQGAN, dict[str, Any]], None] | None = None,
    stop_after: int | None = None,
    seed: int = 0,
) -> VQGAN:
    """Train, or go on with, the decoder of a finished VQGAN."""
    torch.manual_seed(seed)
    critic = NLayerDiscriminator(3, ndf=32, n_layers=2).apply(weights_init)
    model.requires_grad_(False)
    parts = (model.decoder, model.post_quant_conv)
    for part in parts:
        part.requires_grad_(True)
    model.train()
    trained = [weight for part in parts for weight in part.parameters()]
    makes = torch.optim.AdamW(trained, lr=RATE, betas=(0.5, 0.95), weight_decay=0)
    judges = torch.optim.Adam(critic.parameters(), lr=RATE, betas=(0.5, 0.95))
    average = Average(model, 0.998)
    rows = np.flatnonzero(pictures.train)
    neighbours = neighbours_of(coder.codebook)
    last = model.decoder.conv_out.weight

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in (*makes.param_groups, *judges.param_groups):
            group["lr"] = RATE * schedule(progress)
        drawn = rows[torch.randint(len(rows), (batch,), generator=generator).numpy()]
        wanted = batch_of(pictures, drawn, generator)
        codes = disturb(coder.codes(wanted), neighbours, generator)
        with torch.autocast("cpu", torch.bfloat16):
            z = model.codes_to_z(codes).contiguous(memory_format=torch.channels_last)
            made = model.decoder(model.post_quant_conv(z))
        made = (made.float() + 1) / 2
        with torch.autocast("cpu", torch.bfloat16):
            pair = [(side * 2 - 1).contiguous(memory_format=torch.channels_last) for side in (made, wanted)]
            looks = lpips(*pair).float().mean()
            real, fake = critic(wanted * 2 - 1).float(), critic(made.detach() * 2 - 1).float()
        doubt = (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
        judges.zero_grad(set_to_none=True)
        doubt.backward()
        judges.step()
        near = shape_loss(made, wanted) + PERCEPTUAL * looks
        weight, taken = made.new_zeros(()), made.new_zeros(())
        if number >= warm:
            critic.requires_grad_(False)
            with torch.autocast("cpu", torch.bfloat16):
                taken = -critic(made * 2 - 1).float().mean()
            critic.requires_grad_(True)
            pulls = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (near, taken)]
            weight = ADVERSARIAL * (pulls[0] / (pulls[1] + 1e-4)).clamp(max=1e4).detach()
        makes.zero_grad(set_to_none=True)
        (near + weight * taken).backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        makes.step()
        average.update()
        named = (("near", near), ("looks", looks), ("critic", doubt), ("weight", weight))
        return {name: float(value.detach()) for name, value in named}

    def report(number: int) -> None:
        averaged = VQGAN(model.config)
        averaged.load_state_dict(average.values)
        notes, shown = score(averaged, coder, pictures)
        notes |= {"steps": number, "samples": number * batch}
        print("decoder", notes, flush=True)
        sheet(shown, folder / "decoder-sheet.png")
        if export_to is not None:
            export_to(averaged, notes)

    state: dict[str, Any] = {"model": model, "critic": critic, "average": average, "makes": makes, "judges": judges}
    shown = report if pictures.unseen_concept.any() else None
    train(folder, "decoder", budget, state, step, shown, report_minutes=7, seed=seed, stop_after=stop_after)
    return model


def main() -> None:
    arguments = command_line(__doc__, 40).parse_args()
    torch.set_num_threads(1)
    pictures, folder = data.load(arguments.data), arguments.data / "runs"
    run(
        load_mini(),
        pictures,
        load_or_fit(pictures, folder / "patches.pt"),
        perception.load(perception.fetch(arguments.data / "packages")),
        folder,
        Budget(minutes=arguments.minutes),
        export_to=lambda model, notes: export(model, arguments.output, notes),
    )


if __name__ == "__main__":
    main()
