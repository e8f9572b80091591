"""How well a model of one's own draws the captions it learnt, as a CLIP that guided nothing sees it.

    python scripts/evaluate_captions.py caption-diffusion/NAME FOLDER [--captions 100] [--sheet grid.png]

FOLDER: what it was trained from. So many of its captions, none twice, drawn at random from what was trained on and not
from what was kept back, are drawn once each; the embedded judge picks among all of them the one each picture shows
(R-precision). The same is asked of the pictures themselves, which is the most there is to reach.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from generator import registry
from generator.checkpoints import caption_models
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.checkpoints.resolve import resolve
from generator.checkpoints.store import require, weights_of
from generator.drawing import Machine, generate
from generator.learning.caption_diffusion.pictures import Decoder
from generator.learning.sheet import sheet
from generator.learning.stream.opening import open_stream
from generator.learning.stream.samples import DataProblem
from generator.models.clip import ClipModel, load_judge
from generator.tokens import PromptTooLong
from generator.training.scores import seen_by
from lasting import make_folder

SEED = 7


def captioned(data: Path, validation_share: float, decoder: Decoder) -> dict[str, torch.Tensor]:
    """Pictures that were trained on, (3, S, S) uint8 as a run sees them, by their captions; of each caption the first.

    Raises DataProblem."""
    stream, found, ids = open_stream(data, validation_share=validation_share), dict[str, torch.Tensor](), set[str]()
    try:
        for sample in stream.samples("train", seed=SEED):
            if sample.id in ids:  # the second time round
                break
            ids.add(sample.id)
            if sample.caption not in found and (picture := decoder(sample)) is not None:
                found[sample.caption] = picture
    finally:
        stream.close()
    return found


def drawn(captions: Sequence[str], model: str, machine: Machine, size: int, **settings: Any) -> dict[str, torch.Tensor]:
    """What the model draws, (3, S, S) uint8, by the caption; without those that it does not read to their end."""
    found = {}
    whole: dict[str, Any] = {"width": size, "height": size, "as_typed": True, "checkpoint": model} | settings
    for number, caption in enumerate(tqdm(captions, unit="picture")):
        seeded = whole | {"seed": settings["seed"] + number}
        try:
            image = generate(caption, "latent-diffusion", machine=machine, **seeded).image
        except PromptTooLong:
            continue
        found[caption] = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    return found


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
    parser.add_argument("--captions", type=int, default=100, help="how many")
    parser.add_argument("--validation-share", type=float, default=0.05, help="as the run had it")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--cfg-scale", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sheet", type=Path, help="PNG to write: each picture of the data beside what was drawn")
    parser.add_argument("--checkpoints-dir", type=Path)
    args = parser.parse_args()
    machine = Machine("cpu", args.checkpoints_dir)
    try:
        measure(args, machine)
    except (CheckpointDamaged, CheckpointMissing, registry.UnknownName, ValueError, OSError) as error:
        sys.exit(str(error))


def measure(args: argparse.Namespace, machine: Machine) -> None:
    """Draws, tells and writes the sheet. Raises CheckpointDamaged, CheckpointMissing, UnknownName, OSError, ValueError
    for a model of another kind, DataProblem and BadParams."""
    if registry.own_kind(args.model) != "caption-diffusion":
        raise ValueError(f"{args.model} is no model of one's own; name one as caption-diffusion/NAME.")
    checkpoint = resolve(args.model, machine.folder)
    size = caption_models.read_architecture(weights_of(require(checkpoint, machine.folder))).size
    known = captioned(args.data, args.validation_share, Decoder(size))
    chosen = random.Random(SEED).sample(sorted(known), min(args.captions, len(known)))
    settings = {"steps": args.steps, "cfg_scale": args.cfg_scale, "seed": args.seed}
    made = drawn(chosen, args.model, machine, size, **settings)
    if len(made) < len(chosen):
        print(f"{len(chosen) - len(made)} captions are longer than the model reads and are left out")
    if len(made) < 2:
        raise DataProblem("Fewer than 2 captions are left; there is nothing to tell apart.")
    captions = list(made)
    pictures = torch.stack(list(made.values())).float() / 255
    real = torch.stack([known[caption] for caption in captions]).float() / 255
    judge = load_judge()
    for what, seen in (("drawn", pictures), ("the data", real)):
        first, five = named(judge, seen, captions)
        print(f"{what}: R-precision@1 {first:.2f}, @5 {five:.2f} among {len(captions)}")
    if args.sheet:
        array = (sheet(torch.cat([real, pictures], dim=3)).permute(1, 2, 0) * 255).round().byte().numpy()
        make_folder(args.sheet.parent)
        Image.fromarray(array).save(args.sheet, optimize=True)


if __name__ == "__main__":
    main()
