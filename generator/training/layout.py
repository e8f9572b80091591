"""Train the prior's layout, text to codes place by place: `python -m generator.training.layout --minutes 10`.

A masked-token transformer needs hours of one processor core to hear a text; two matrices hear it in minutes. Their
guess says what is where, the transformer what fits together. Needs the codes that `prior` prepared.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from generator.prior import WEIGHTS, Layout, pack
from generator.training import codes
from generator.training.prior import draw_batch
from generator.training.run import Average, Budget, schedule, train

BATCH, PLACES, RATE, NOISE = 64, 64, 2e-3, 0.15
WIDTH, RANK = 640, 32


def run(
    seen: codes.Examples,
    n_embed: int,
    styles: int,
    folder: Path,
    budget: Budget,
    seed: int = 0,
    stop_after: int | None = None,
) -> tuple[Layout, dict[str, torch.Tensor]]:
    """Train, or go on with, a layout by cross-entropy at random places; returns it and its averaged weights."""
    torch.manual_seed(seed)
    grid = seen.codes.shape[-1]
    layout = Layout(seen.features.shape[1], styles, grid, n_embed, WIDTH, RANK)
    average = Average(layout, 0.995)
    optimiser = torch.optim.AdamW(layout.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True)

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = RATE * schedule(progress)
        wanted, text, style, _ = draw_batch(seen, BATCH, styles, generator)
        text = text + NOISE * text.shape[1] ** -0.5 * torch.randn(text.shape, generator=generator)
        places = torch.randperm(grid * grid, generator=generator)[:PLACES]
        with torch.autocast("cpu", torch.bfloat16):
            scores = layout(text, style, places)
        wanted = wanted.flatten(1)[:, places]
        loss = F.cross_entropy(scores.float().flatten(0, 1), wanted.flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        average.update()
        right = (scores.detach().argmax(dim=2) == wanted).float().mean()
        return {"loss": float(loss.detach()), "right": float(right)}

    train(
        folder,
        "layout",
        budget,
        {"layout": layout, "average": average, "optimiser": optimiser},
        step,
        report_minutes=60,
        seed=seed,
        stop_after=stop_after,
    )
    return layout, average.values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/training"))
    parser.add_argument("--minutes", type=float, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.data / "runs"
    config = json.loads((WEIGHTS / "mini-prior.json").read_text())
    seen, _ = codes.load(folder / "codes-tower.pt")
    _, values = run(seen, config["n_embed"], len(config["styles"]), folder, Budget(minutes=arguments.minutes))
    weights = load_file(WEIGHTS / "mini-prior.safetensors")
    weights |= pack({f"layout.{key}": value for key, value in values.items()})
    save_file(weights, WEIGHTS / "mini-prior.safetensors")
    config |= {"layout_width": WIDTH, "layout_rank": RANK}
    (WEIGHTS / "mini-prior.json").write_text(json.dumps(config, indent=1) + "\n")


if __name__ == "__main__":
    main()
