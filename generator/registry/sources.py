"""Where the files of every real checkpoint come from: one literal table.

sha256 is published for CLIP, guided diffusion and LPIPS only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from generator.registry.checkpoints import MIB

INDEX = "model_index.json"  # of a folder as diffusers writes them
HUGGING_FACE = "https://huggingface.co"
_CLIP = "https://openaipublic.azureedge.net/clip/models"
_HEIBOX = "https://heibox.uni-heidelberg.de/d"
_PIXRAY = "https://github.com/pixray/pixray/releases/download/v1.7.1"
_FEED_FORWARD = "https://github.com/mehdidc/feed_forward_vqgan_clip/releases/download/0.1"
_CLIP_LICENCE = "MIT (OpenAI CLIP)"
_TAMING_LICENCE = "MIT (taming-transformers, CompVis)"
_BIGGAN = "https://s3.amazonaws.com/models.huggingface.co/biggan"
_BIGGAN_LICENCE = "Apache-2.0 weights (DeepMind, TF Hub), MIT conversion (pytorch-pretrained-BigGAN)"
_SWINIR = "https://github.com/JingyunLiang/SwinIR/releases/download/v0.0"
_DIFFUSION_LICENCE = "MIT (OpenAI guided-diffusion)"
_FINETUNE_LICENCE = "no licence stated by its publisher; finetuned from OpenAI's guided diffusion (MIT)"
_LPIPS_LICENCE = "BSD-3-Clause (torchvision's VGG16), BSD-2-Clause (LPIPS, Zhang et al.)"
_WIKIART_LICENCE = "no licence stated by its publisher; made with taming-transformers (MIT) from WikiArt pictures"


@dataclass(frozen=True)
class File:
    """One file of a checkpoint. sha256: None where none is published; size: exact bytes where known."""

    name: str
    urls: tuple[str, ...]
    about: int
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Checkpoint:
    """kind: "clip", "vqgan", "biggan", "guided-diffusion", "upscaler", "lpips", or "diffusers", a folder of that name.

    shapes: of a few tensors by which one checkpoint is told from another.
    """

    kind: str
    licence: str
    files: tuple[File, ...]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def about(self) -> int:
        """Rough bytes of the whole download."""
        return sum(file.size or file.about for file in self.files)


@dataclass(frozen=True)
class HubFolder:
    """A model on Hugging Face. mb: MB of each network's weights; kinds: which of their files, the first there is;
    shapes: of a tensor of the UNet by which the model is told from others."""

    repository: str
    licence: str
    mb: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    kinds: tuple[str, ...] = ("",)

    def files(self, folder: str) -> list[tuple[str, tuple[str, ...], int]]:
        """Of each file its name below `folder`, where it comes from, and its rough size in bytes."""
        base = f"{HUGGING_FACE}/{self.repository}/resolve/main"
        small = [INDEX, "scheduler/scheduler_config.json", *(f"{name}/config.json" for name in self.mb)]
        small += [f"{tokenizer_of(name)}/tokenizer_config.json" for name in self.mb if name.startswith("text_encoder")]
        files: list[tuple[str, tuple[str, ...], int]] = [
            (f"{folder}/{name}", (f"{base}/{name}",), 5000) for name in small
        ]
        for name, size in self.mb.items():
            stem = f"{name}/{'model' if name.startswith('text_encoder') else 'diffusion_pytorch_model'}"
            urls = tuple(f"{base}/{stem}{kind}.safetensors" for kind in self.kinds)
            files.append((f"{folder}/{stem}.safetensors", urls, size * 1_000_000))
        return files


_TEXT_IN = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"
_STABLE_MB = {"text_encoder": 492, "unet": 3438, "vae": 335}
HUB = {
    "stable-diffusion-1-5": HubFolder(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "CreativeML Open RAIL-M (Rombach, Esser; CompVis, Runway)",
        _STABLE_MB,
        {_TEXT_IN: (640, 768)},
    ),
    "stable-diffusion-1-4": HubFolder(
        "CompVis/stable-diffusion-v1-4",
        "CreativeML Open RAIL-M (Rombach, Esser; CompVis)",
        _STABLE_MB,
        {_TEXT_IN: (640, 768)},
    ),
    "stable-diffusion-xl": HubFolder(
        "stabilityai/stable-diffusion-xl-base-1.0",
        "CreativeML Open RAIL++-M (Stability AI)",
        {"text_encoder": 246, "text_encoder_2": 1390, "unet": 5135, "vae": 167},
        {_TEXT_IN: (640, 2048)},
        (".fp16",),
    ),
}


def any_folder(repository: str, texts: tuple[str, ...]) -> HubFolder:
    """A repository that is not in the table, with these text encoders; sizes are the greatest there are."""
    most = {"text_encoder": 1400, "text_encoder_2": 2900, "unet": 11_000, "vae": 400}
    mb = {part: size for part, size in most.items() if part in (*texts, "unet", "vae")}
    return HubFolder(repository, "as its page on huggingface.co says", mb, kinds=("", ".fp16"))


def tokenizer_of(text_encoder: str) -> str:
    """The folder beside the text encoder that holds its tokenizer."""
    return text_encoder.replace("text_encoder", "tokenizer")


def _clip(sha256: str, file: str, mib: int, conv1: tuple[int, ...], projection: tuple[int, int]) -> Checkpoint:
    return Checkpoint(
        "clip",
        _CLIP_LICENCE,
        (File(file, (f"{_CLIP}/{sha256}/{file}",), mib * MIB, sha256),),
        {"visual.conv1.weight": conv1, "text_projection": projection},
    )


def _heibox(share: str) -> tuple[str, str]:
    return (
        f"{_HEIBOX}/{share}/files/?p=%2Fckpts%2Flast.ckpt&dl=1",
        f"{_HEIBOX}/{share}/files/?p=%2Fconfigs%2Fmodel.yaml&dl=1",
    )


def _vqgan(
    stem: str,
    sources: tuple[tuple[str, str], ...],
    about: int,
    licence: str,
    codebook: tuple[str, tuple[int, int]],
    size: int | None = None,
) -> Checkpoint:
    ckpt, config = tuple(source[0] for source in sources), tuple(source[1] for source in sources)
    files = (File(f"{stem}.yaml", config, 2000), File(f"{stem}.ckpt", ckpt, about, size=size))
    return Checkpoint("vqgan", licence, files, {codebook[0]: codebook[1]})


def _biggan(resolution: int, about: int) -> Checkpoint:
    config, weights = (f"biggan-deep-{resolution}-{end}" for end in ("config.json", "pytorch_model.bin"))
    files = (File(config, (f"{_BIGGAN}/{config}",), 1000), File(weights, (f"{_BIGGAN}/{weights}",), about))
    shapes = {"embeddings.weight": (128, 1000), "generator.gen_z.weight_orig": (32768, 256)}
    return Checkpoint("biggan", _BIGGAN_LICENCE, files, shapes)


def _upscaler(file: str, about: int, licence: str, shapes: Mapping[str, tuple[int, ...]]) -> Checkpoint:
    return Checkpoint("upscaler", licence, (File(file, (f"{_SWINIR}/{file}",), about),), shapes)


def diffusers(name: str, hub: HubFolder) -> Checkpoint:
    return Checkpoint("diffusers", hub.licence, tuple(File(*file) for file in hub.files(name)), hub.shapes)


def _release(base: str, stem: str) -> tuple[str, str]:
    return f"{base}/{stem}.ckpt", f"{base}/{stem}.yaml"


_CODES = "quantize.embedding.weight"

TABLE: dict[str, Checkpoint] = {
    "imagenet-f16-1024": _vqgan(
        "vqgan_imagenet_f16_1024",
        (_heibox("8088892a516d4e3baf92"),),
        957_954_257,
        _TAMING_LICENCE,
        (_CODES, (1024, 256)),
        size=957_954_257,
    ),
    "imagenet-f16-16384": _vqgan(
        "vqgan_imagenet_f16_16384",
        (_heibox("a7530b09fed84f80a887"), _release(_FEED_FORWARD, "vqgan_imagenet_f16_16384")),
        980_000_000,
        _TAMING_LICENCE,
        (_CODES, (16384, 256)),
    ),
    "wikiart-f16-1024": _vqgan(
        "vqgan_wikiart_1024",
        (_release(_PIXRAY, "vqgan_wikiart_1024"),),
        958_000_000,
        _WIKIART_LICENCE,
        (_CODES, (1024, 256)),
    ),
    "wikiart-f16-16384": _vqgan(
        "vqgan_wikiart_16384",
        (_release(_PIXRAY, "vqgan_wikiart_16384"),),
        1_000_000_000,
        _WIKIART_LICENCE,
        (_CODES, (16384, 256)),
    ),
    "openimages-f8-8192": _vqgan(
        "vqgan_openimages_f8_8192",
        (_heibox("2e5662443a6b4307b470"),),
        376_000_000,
        _TAMING_LICENCE,
        ("quantize.embed.weight", (8192, 256)),
    ),
    "biggan-deep-128": _biggan(128, 201 * MIB),
    "biggan-deep-256": _biggan(256, 224 * MIB),
    "biggan-deep-512": _biggan(512, 225 * MIB),
    "swinir-l": _upscaler(
        "003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth",
        142_000_000,
        "Apache-2.0 (SwinIR, Liang et al.)",
        {"conv_first.weight": (240, 3, 3, 3), "layers.8.residual_group.blocks.5.attn.qkv.weight": (720, 240)},
    ),
    **{name: diffusers(name, hub) for name, hub in HUB.items()},
    "RN50": _clip(
        "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762", "RN50.pt", 244, (32, 3, 3, 3), (512, 1024)
    ),
    "RN101": _clip(
        "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599", "RN101.pt", 278, (32, 3, 3, 3), (512, 512)
    ),
    "RN50x4": _clip(
        "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd", "RN50x4.pt", 402, (40, 3, 3, 3), (640, 640)
    ),
    "ViT-B/32": _clip(
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        "ViT-B-32.pt",
        338,
        (768, 3, 32, 32),
        (512, 512),
    ),
    "ViT-B/16": _clip(
        "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
        "ViT-B-16.pt",
        335,
        (768, 3, 16, 16),
        (512, 512),
    ),
    "ViT-L/14": _clip(
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
        "ViT-L-14.pt",
        890,
        (1024, 3, 14, 14),
        (768, 768),
    ),
}

TABLE |= {
    "guided-diffusion-256": Checkpoint(
        "guided-diffusion",
        _DIFFUSION_LICENCE,
        (
            File(
                "256x256_diffusion_uncond.pt",
                ("https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_diffusion_uncond.pt",),
                2_211_000_000,
                "a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1",
            ),
        ),
        {"input_blocks.0.0.weight": (256, 3, 3, 3), "out.2.weight": (6, 256, 3, 3)},
    ),
    "guided-diffusion-512": Checkpoint(
        "guided-diffusion",
        _FINETUNE_LICENCE,
        (
            File(
                "512x512_diffusion_uncond_finetune_008100.pt",
                (
                    "https://huggingface.co/lowlevelware/512x512_diffusion_unconditional_ImageNet/resolve/main/"
                    "512x512_diffusion_uncond_finetune_008100.pt",
                ),
                2_232_000_000,
                "9c111ab89e214862b76e1fa6a1b3f1d329b1a88281885943d2cdbe357ad57648",
            ),
        ),
        {"input_blocks.0.0.weight": (128, 3, 3, 3), "out.2.weight": (6, 128, 3, 3)},
    ),
    "lpips-vgg": Checkpoint(
        "lpips",
        _LPIPS_LICENCE,
        (
            File(
                "vgg16-397923af.pth",
                ("https://download.pytorch.org/models/vgg16-397923af.pth",),
                553_433_881,
                "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
                size=553_433_881,
            ),
            File(
                "lpips_vgg.pt",
                ("https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/vgg.pth",),
                8_000,
                "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
            ),
        ),
        {},
    ),
}
