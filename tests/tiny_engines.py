"""One tiny engine of each kind at random weights, and the settings of a picture it makes in milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image, ImageDraw

from generator.engines.base import Step, generate
from generator.engines.biggan_clip import BigganClip
from generator.engines.guided_diffusion import GuidedDiffusion
from generator.engines.latent_diffusion import LatentDiffusion
from generator.engines.stable_diffusion import StableDiffusion
from generator.engines.vqgan_clip import VqganClip
from generator.models.biggan import MiniBigGAN
from generator.models.biggan_deep import BigGANBatchNorm
from generator.models.drafts import Drafter
from generator.models.finisher import load_finisher
from generator.models.latent_unet import LatentDiffusionModel
from generator.models.layout import Layout
from generator.models.pixel_diffusion import PixelDiffusion
from generator.models.restyle import Restyler
from generator.models.vqgan import VQModel
from generator.params import BigganClipParams, GuidedDiffusionParams, LatentDiffusionParams, VqganClipParams
from generator.precision import Precision
from generator.prompts import Prompt
from generator.starts.scenes import Composer
from tests.real_formats import load_named
from tests.small_diffusion import SMALL, SmallClip
from tests.tiny_diffusers import save_stable_diffusion

T = TypeVar("T")
EXACT: dict[str, Any] = {"precision": torch.float32}
STYLES = ["noto", "twemoji", "fluent", "3d", "silhouette", "blob", "fx"]
BIGGAN_NETWORK = {
    "output_dim": 16,
    "z_dim": 8,
    "class_embed_dim": 8,
    "channel_width": 4,
    "num_classes": 5,
    "layers": [[True, 16, 8], [True, 8, 4], [False, 4, 2], [False, 2, 1]],
    "attention_layer_position": -1,
    "eps": 1e-4,
    "n_stats": 2,
}
BIGGAN = {
    "biggan": BIGGAN_NETWORK,
    "groups": ["animal-bird", "food-fruit", "sky"],
    "styles": ["noto", "fluent"],
    "text_width": 16,
    "text_hidden": 16,
}


def seeded(build: Callable[[], T]) -> T:
    """What `build` makes on one thread with torch's generator at 0, which is then as it was."""
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build()


def read_image(name: str) -> Image.Image:
    """red.png, or mask.png, whose right half is white."""
    if name == "red.png":
        return Image.new("RGB", (30, 20), (200, 10, 10))
    mask = Image.new("L", (32, 32), 0)
    ImageDraw.Draw(mask).rectangle((16, 0, 31, 31), fill=255)
    return {"mask.png": mask}[name]


def last(engine: Any, params: Any) -> Step:
    """The last Step of a picture."""
    return list(generate(engine, params))[-1]


def vqgan(z_channels: int, n_embed: int, attention: list[int]) -> VQModel:
    """Codes of 4 x 4 px, of 4 numbers."""
    details = {
        "double_z": False,
        "z_channels": z_channels,
        "resolution": 16,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1, 1, 1],
        "num_res_blocks": 1,
        "attn_resolutions": attention,
        "dropout": 0.0,
    }
    return VQModel({"embed_dim": 4, "n_embed": n_embed, "ddconfig": details})


def layout() -> Layout:
    """Of 64 x 64 px in codes of 4 x 4."""
    shape = {"z_channels": 4, "grid": 16, "width": 16, "content": 8, "components": 20}
    made = Layout({**shape, "text_width": 16, "styles": STYLES})
    torch.nn.init.normal_(made.components, std=0.2)
    return made.requires_grad_(False)


class RandomDrafts:
    """Codes at random, whatever the text."""

    def __init__(self) -> None:
        self.layout = seeded(layout)

    def __call__(
        self, text: Prompt, style: str | None, seeds: list[int], distance: Any, show: Any = None
    ) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(seed % 2**32) for seed in seeds]
        return torch.stack([torch.randint(512, (16, 16), generator=generator) for generator in generators])


def composer(clips: list[Any]) -> Composer:
    """Cuts things out of what is drawn and puts them together, with the embedded finisher."""
    return Composer(load_finisher(), clips, Precision.best(torch.device("cpu"), torch.float32))


def vqgan_clip(*parts: Any, **options: Any) -> VqganClip:
    """Its prior draws codes at random. parts: a VQGAN and its CLIPs, else new ones."""
    whole = parts or seeded(lambda: (vqgan(4, 512, [4]), [SmallClip()]))
    composing = {} if "composer" in options else {"composer": composer(whole[1])}
    own = {"draft_codes": RandomDrafts(), "read_image": read_image}
    return VqganClip(*whole, **{**own, **EXACT, **composing, **options})


def vqgan_settings(**changed: Any) -> VqganClipParams:
    base = {"prompt": "a red heart", "seed": 1, "width": 16, "height": 16, "steps": 6, "cutn": 4, "init": "random"}
    return VqganClipParams(**{**base, "learning_rate": 0.1, "init_weight": 0.0, **changed})


def mini_biggan() -> MiniBigGAN:
    """Its pictures differ visibly with z and classes."""
    model = MiniBigGAN(BIGGAN)
    for part in model.network.modules():
        if isinstance(part, BigGANBatchNorm):
            if part.conditional:
                torch.nn.init.normal_(part.offset.weight, std=0.2)
            else:
                torch.nn.init.ones_(part.weight)
                torch.nn.init.zeros_(part.bias)
    torch.nn.init.normal_(model.network.generator.conv_to_rgb.weight, std=0.5)
    model.measure(torch.randn(64, 8), torch.rand(64, 5))
    return model


def biggan_clip(**options: Any) -> BigganClip:
    clip, model = seeded(lambda: (SmallClip(reads=True), mini_biggan()))
    return BigganClip(model, [clip], **{"text_encoder": clip, "read_image": read_image, **EXACT, **options})


def biggan_settings(**changed: Any) -> BigganClipParams:
    base = {"prompt": "a red heart", "seed": 1, "steps": 6, "cutn": 4, "init_weight": 0.0, "candidates": 2}
    return BigganClipParams(**{**base, "learning_rate": 0.1, **changed})


def guided_diffusion(**options: Any) -> GuidedDiffusion:
    model, clip = seeded(lambda: (PixelDiffusion(SMALL), SmallClip()))
    return GuidedDiffusion(model, [clip], read_image=read_image, **{**EXACT, **options})


def guided_settings(**changed: Any) -> GuidedDiffusionParams:
    base = {"prompt": "a red heart", "seed": 1, "width": 16, "height": 16, "steps": 5, "cutn": 3}
    start = {"init": "image" if changed.get("init_image") else "noise"}
    return GuidedDiffusionParams(**{**base, **start, **changed})


def latent_diffusion(**options: Any) -> LatentDiffusion:
    def build() -> LatentDiffusion:
        restyler = Restyler({"z_channels": 4, "styles": STYLES, "width": 8, "deep": 16, "blocks": 1, "told": 8})
        unet = {"z_channels": 4, "grid": 16, "text_width": 16, "styles": 7}
        model = LatentDiffusionModel({**unet, "block_out_channels": [16, 32], "cross_width": 16})
        clip = SmallClip(32, 16, "mini", reads=True)
        models = model, Drafter(layout(), restyler), vqgan(32, 64, []), clip, [clip]
        composing = {} if "composer" in options else {"composer": composer([clip])}
        return LatentDiffusion(*models, **{"read_image": read_image, **EXACT, **composing, **options})

    return seeded(build)


def latent_settings(**changed: Any) -> LatentDiffusionParams:
    return LatentDiffusionParams(**{"prompt": "a red heart", "seed": 3, "steps": 3, "candidates": 2, **changed})


def stable_diffusion(root: Path, **options: Any) -> StableDiffusion:
    """Its checkpoint is written below `root` as diffusers/tiny."""
    save_stable_diffusion(root / "diffusers" / "tiny")
    clip = seeded(lambda: SmallClip(32, 16, "mini"))
    own = {"read_image": read_image, **EXACT, **options}
    return StableDiffusion(load_named("diffusers/tiny", root), [clip], **own)


def stable_settings(**changed: Any) -> LatentDiffusionParams:
    small = {"prompt": "a red heart", "seed": 3, "steps": 4, "width": 32, "height": 32, "clip": ("mini",)}
    return LatentDiffusionParams(**{"checkpoint": "diffusers/tiny", **small, **changed})
