"""Our UNet of guided diffusion against OpenAI's own, on the same random weights, at the real sizes.

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

from generator.openai_unet import ARCHITECTURES, Architecture
from tests.real_formats import random_openai_unet

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
    return int(worst > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
