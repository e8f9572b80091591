"""Our LPIPS against its authors' package, with its own fitted weights and the same random VGG16.

SOURCE is PyPI's lpips 0.1.4 unpacked: pip download lpips --no-deps && unzip lpips-*.whl -d SOURCE.
python scripts/compare_lpips.py SOURCE. Exit status 1 where they differ by more than 1e-5 of the distance.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from generator.checkpoints.state_dict import read_state_dict
from generator.models.lpips import LPIPS, tensors_of
from generator.models.torchvision_operators import declare
from tests.real_formats import random_vgg

ALLOWED = 1e-5


def main() -> int:
    source = Path(sys.argv[1])
    declare()
    sys.path.insert(0, str(source))
    theirs = importlib.import_module("lpips").LPIPS(net="vgg", pnet_rand=True, verbose=False)
    vgg, heads = random_vgg(), read_state_dict(source / "lpips" / "weights" / "v0.1" / "vgg.pth")
    for part in theirs.net.children():  # slices of VGG16, whose layers keep their numbers
        layers = {f"{number}.{kind}": vgg[f"features.{number}.{kind}"] for number, kind in _layers(part)}
        part.load_state_dict(layers, strict=True)
    ours = LPIPS()
    ours.load_state_dict(tensors_of(vgg, heads), strict=True)
    worst = 0.0
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        one, other = (torch.rand(2, 3, 48, 80, generator=generator) * 2 - 1 for _ in range(2))
        one.requires_grad_()
        made, wanted = ours(one, other), theirs(one, other).flatten()
        gradients = [torch.autograd.grad(distance.sum(), one, retain_graph=True)[0] for distance in (made, wanted)]
        print(f"seed {seed}: ours {made.tolist()}, theirs {wanted.tolist()}")
        worst = max(worst, float((made.detach() / wanted.detach() - 1).abs().max()))
        worst = max(worst, float((gradients[0] - gradients[1]).abs().max() / gradients[1].abs().max()))
    print(f"greatest relative difference of distances and gradients: {worst:.2g}")
    return int(worst > ALLOWED)


def _layers(part: torch.nn.Module) -> list[tuple[str, str]]:
    return [(key.partition(".")[0], key.partition(".")[2]) for key in part.state_dict()]


if __name__ == "__main__":
    sys.exit(main())
