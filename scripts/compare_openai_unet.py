"""Our guided diffusion against OpenAI's own on the same random weights: the UNet at real sizes, a whole guided run.

SOURCE is a checkout of github.com/openai/guided-diffusion, or PyPI's guided-diffusion-sdk unpacked:
python scripts/compare_openai_unet.py SOURCE. Needs 5 GB of memory. Exit status 1 where they differ by more than 1e-4.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from generator.models.openai_unet import ARCHITECTURES, Architecture
from generator.sampling.samplers import timesteps_between
from tests.real_formats import random_openai_unet
from tests.small_diffusion import TargetGuided

SMALL = Architecture(
    (0.5, 1, 1), (2, 4), channels=64, head_channels=16
)  # tests/unit/test_openai_unet.py holds this one
ALLOWED = 1e-4


def original(source: Path, a: Architecture) -> Any:
    """OpenAI's UNetModel of that architecture."""
    sys.path.insert(0, str(source))
    sys.modules.setdefault("blobfile", types.ModuleType("blobfile"))  # its logger asks for it; nothing here does
    unet = importlib.import_module("guided_diffusion.unet").UNetModel
    return unet(
        image_size=64,
        in_channels=3,
        model_channels=a.channels,
        out_channels=6,
        num_res_blocks=a.blocks,
        attention_resolutions=a.attention,
        channel_mult=a.multipliers,
        num_head_channels=a.head_channels,
        use_scale_shift_norm=True,
        resblock_updown=True,
    ).eval()


def original_guided_run(theirs: Any, steps: int = 5, seed: int = 0) -> torch.Tensor:
    """The same run by OpenAI's sampler with the gradient Disco Diffusion gives it."""
    script, respace = (importlib.import_module(f"guided_diffusion.{name}") for name in ("script_util", "respace"))
    plain = script.create_gaussian_diffusion(steps=1000, learn_sigma=True, noise_schedule="linear")
    diffusion = respace.SpacedDiffusion(
        use_timesteps=timesteps_between(999, steps),
        betas=plain.betas,
        model_mean_type=plain.model_mean_type,
        model_var_type=plain.model_var_type,
        loss_type=plain.loss_type,
    )
    at = torch.zeros(1, dtype=torch.long)

    def gradient(x: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            denoised = diffusion.p_mean_variance(theirs, x, at, clip_denoised=False)["pred_xstart"]
            share = float(diffusion.sqrt_one_minus_alphas_cumprod[int(at)])
            mixed = denoised * share + x * (1 - share)
            loss = TargetGuided.SCALE * (mixed - TargetGuided.target(mixed)).square().sum()
            cond_grad = -torch.autograd.grad(loss, x)[0]
        size = cond_grad.square().mean().sqrt()
        return cond_grad * size.clamp(max=0.05) / size

    torch.manual_seed(seed)
    x = torch.randn(1, 3, 16, 16)
    for at[0] in range(steps - 1, -1, -1):
        x = diffusion.ddim_sample(theirs, x, at, clip_denoised=False, cond_fn=gradient, model_kwargs={}, eta=0.8)[
            "sample"
        ]
    return x


@torch.no_grad()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, metavar="SOURCE")
    args = parser.parse_args()
    worst = 0.0
    for name, architecture in {"small": SMALL, **ARCHITECTURES}.items():
        ours, theirs = random_openai_unet(architecture), original(args.source, architecture)
        theirs.load_state_dict(ours.state_dict(), strict=True)
        side = 16 if architecture is SMALL else 64
        x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
        t = torch.tensor([999, 17])
        wanted, made = theirs(x, t), ours(x, t)
        worst = max(worst, float((wanted - made).abs().max()))
        parameters = sum(p.numel() for p in theirs.parameters()) / 1e6
        print(f"{name}: {parameters:.1f} M parameters, greatest difference {(wanted - made).abs().max():.1e}")
        if architecture is SMALL:
            print("  of the original:", [round(v, 5) for v in wanted[:, :, 5, 9].flatten().tolist()])
            with torch.enable_grad():
                made, wanted = TargetGuided.run(ours), original_guided_run(theirs)
            # Random weights take no noise off: the numbers of the picture run into the hundreds.
            gap = float((wanted - made).abs().max() / wanted.abs().max())
            worst = max(worst, gap)
            print(f"guided run of 5 steps: greatest difference {gap:.1e} of the greatest number")
            print("  of the original:", [round(v, 4) for v in wanted[0, :, 3::4, 9].flatten().tolist()])
    return int(worst > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
