"""How well a model of one's own draws the captions it learnt, as a CLIP that guided nothing sees it.

    python scripts/evaluate_captions.py caption-diffusion/NAME FOLDER [--captions 100] [--sheet grid.png]

FOLDER: what it was trained from. So many of its captions, none twice, drawn at random from what was trained on and not
from what was kept back, are drawn once each; the embedded judge picks among all of them the one each picture shows
(R-precision). The same is asked of the pictures themselves, which is the most there is to reach.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from generator.checkpoints import caption_models
from generator.checkpoints.resolve import resolve
from generator.drawing import Machine, generate
from generator.learning.sheet import sheet
from generator.learning.stream.opening import open_stream
from generator.models.clip import ClipModel, load_judge
from generator.training.scores import seen_by

SEED = 7


def captioned(data: Path, count: int, size: int, validation_share: float) -> tuple[list[str], torch.Tensor]:
    """Captions of pictures that were trained on, and these pictures (N, 3, S, S) in [0, 1]."""
    stream, pictures, ids = open_stream(data, validation_share=validation_share), dict[str, bytes](), set[str]()
    try:
        for sample in stream.samples("train", seed=SEED):
            if sample.id in ids:  # the second time round
                break
            ids.add(sample.id)
            pictures.setdefault(sample.caption, sample.image)
    finally:
        stream.close()
    chosen = random.Random(SEED).sample(sorted(pictures), min(count, len(pictures)))
    read = [Image.open(io.BytesIO(pictures[caption])).convert("RGB").resize((size, size)) for caption in chosen]
    return chosen, torch.stack([to_tensor(picture) for picture in read])


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """(3, H, W) in [0, 1]."""
    return torch.from_numpy(np.asarray(picture.convert("RGB"))).permute(2, 0, 1).float() / 255


def named(judge: ClipModel, pictures: torch.Tensor, captions: list[str]) -> tuple[float, float]:
    """Share of pictures whose caption is the first, and among the first five, of all captions for the judge."""
    with torch.no_grad():
        vectors, _ = seen_by(judge, pictures)
        texts = F.normalize(judge.encode_text(captions).float(), dim=1)
    ranks = (vectors @ texts.T).argsort(dim=1, descending=True)
    own = torch.arange(len(captions))[:, None]
    return float((ranks[:, :1] == own).float().mean()), float((ranks[:, :5] == own).any(dim=1).float().mean())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="caption-diffusion/NAME")
    parser.add_argument("data", type=Path, help="the folder, zip, tar or parquet it was trained from")
    parser.add_argument("--captions", type=int, default=100)
    parser.add_argument("--validation-share", type=float, default=0.05, help="as the run had it")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--cfg-scale", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sheet", type=Path, help="PNG to write: each picture of the data beside what was drawn")
    parser.add_argument("--checkpoints-dir", type=Path)
    args = parser.parse_args()
    machine = Machine("cpu", args.checkpoints_dir)
    checkpoint = resolve(args.model, machine.folder)
    size = caption_models.read_architecture(machine.folder / checkpoint.files[0].name).size
    captions, real = captioned(args.data, args.captions, size, args.validation_share)
    settings = {"steps": args.steps, "cfg_scale": args.cfg_scale, "width": size, "height": size, "as_typed": True}
    drawn = torch.stack(
        [
            to_tensor(
                generate(
                    caption,
                    "latent-diffusion",
                    machine=machine,
                    checkpoint=args.model,
                    seed=args.seed + number,
                    **settings,
                ).image
            )
            for number, caption in enumerate(tqdm(captions, unit="picture"))
        ]
    )
    judge = load_judge()
    for what, pictures in (("drawn", drawn), ("the data", real)):
        first, five = named(judge, pictures, captions)
        print(f"{what}: R-precision@1 {first:.2f}, @5 {five:.2f} among {len(captions)}")
    if args.sheet:
        pairs = torch.stack([real, drawn], dim=1)
        beside = torch.cat([pairs[:, 0], pairs[:, 1]], dim=3)
        array = (sheet(beside).permute(1, 2, 0) * 255).round().byte().numpy()
        Image.fromarray(array).save(args.sheet, optimize=True)


if __name__ == "__main__":
    main()
