"""What a file of weights is, told by the names and shapes of its tensors or by its first bytes, and what to do with it.

People try what they have. A file that is of another kind than its place says is refused with the kind it is and, where
there is a way, the command that makes of it what can be used. Importing this module does not import torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]
MAX_NAMES = 20_000  # of tensors that are looked through
UNET, FIRST = "model.diffusion_model.", "model.diffusion_model.input_blocks.0.0.weight"
TAKE_ANOTHER = "take the text-to-image model it was made from or for"
_DIFFUSERS = (
    "the folder that is needed has model_index.json: "
    "python -m generator.checkpoints download diffusers/OWNER/MODEL gets one from Hugging Face"
)


@dataclass(frozen=True)
class Kind:
    """One kind of file. names: a pattern of one of its tensors' names; without: one that none of them has.

    of: the loader (a key of generator.checkpoints.loading.LOADERS) that takes such files, to which it is no surprise.
    """

    what: str
    names: str
    without: str = ""
    test: Callable[[Shapes], bool] | None = None
    of: str = ""


def _channels(number: int) -> Callable[[Shapes], bool]:
    """Whether the UNet of an original file reads that many channels."""
    return lambda shapes: shapes.get(FIRST, (0, 0))[1:2] == (number,)


def _embedding(shapes: Shapes) -> bool:
    """One or two tables of a few vectors as wide as a text encoder's, and nothing else."""
    return 0 < len(shapes) <= 2 and all(s and len(s) <= 2 and s[-1] in (768, 1024, 1280) for s in shapes.values())


# The first that fits counts, so that what others contain stands behind them.
KINDS: tuple[Kind, ...] = (
    Kind(
        "it is a LoRA or LyCORIS, which changes a model and is none: put a LoRA into the checkpoints folder as "
        "lora/NAME.safetensors and name it as lora; merge a LyCORIS into its model with kohya-ss/sd-scripts: "
        "python networks/merge_lora.py --sd_model MODEL.safetensors --models THIS.safetensors --ratios 1 --save_to "
        "data/checkpoints/diffusers/MERGED.safetensors (for XL sdxl_merge_lora.py)",
        r"^lora_(unet|te\d?|transformer)_|[._]lora[._](up|down|A|B|linear_layer|embedding)|\.lora_[AB]\.|"
        r"\.(hada_w[12]_[ab]|lokr_w[12](_[ab])?|oft_blocks|dora_scale)$",
    ),
    Kind(
        f"it is a ControlNet, which steers a model and is none; {TAKE_ANOTHER}: its picture can be given as init_image",
        r"^control_model\.|^controlnet_cond_embedding\.|^input_hint_block\.|^lllite_|^controlnet_(blocks|down_blocks)\.",
    ),
    Kind(
        f"it is a T2I-Adapter, which steers a model and is none; {TAKE_ANOTHER}",
        r"^(adapter\.)?body\.\d+\.(block1|in_conv|resnets)\b",
    ),
    Kind(
        f"it is an IP-Adapter, which shows a model pictures and is none; {TAKE_ANOTHER}, and give the picture as "
        "init_image",
        r"^(ip_adapter|image_proj)\.",
    ),
    Kind(
        f"it is a motion module (AnimateDiff), which makes a model draw films and is none; {TAKE_ANOTHER}",
        r"motion_modules\.",
    ),
    Kind(
        "it is a textual inversion, which is a new word for a text encoder and no model; write what it stands for into "
        "the prompt, and put the model it was made for here",
        r"^(emb_params|string_to_param(\.|$)|clip_[lg]$)|^[^.]*$",
        test=_embedding,
    ),
    Kind(
        "it is a hypernetwork, which changes a model and is none, and cannot be merged into it; take the model alone",
        r"^\d{3,4}\.\d\.linear\d?\.",
    ),
    Kind(
        f"it is a model for inpainting (its UNet reads 9 channels where text-to-image models read 4); {TAKE_ANOTHER}: "
        "with mask_image every text-to-image model redraws a part of a picture",
        f"^{re.escape(FIRST)}$",
        test=_channels(9),
    ),
    Kind(
        f"it is InstructPix2Pix or another model that edits pictures (its UNet reads 8 channels); {TAKE_ANOTHER}, and "
        "give the picture as init_image",
        f"^{re.escape(FIRST)}$",
        test=_channels(8),
    ),
    Kind(
        f"it is a model that is given depth (its UNet reads 5 channels); {TAKE_ANOTHER}",
        f"^{re.escape(FIRST)}$",
        test=_channels(5),
    ),
    Kind(
        "it is Stable Diffusion's x4 upscaler (its UNet reads 7 channels), which is no text-to-image model; SwinIR "
        "upscales here: python -m generator.checkpoints download swinir-l",
        f"^{re.escape(FIRST)}$",
        test=_channels(7),
    ),
    Kind(
        "it is the refiner of Stable Diffusion XL, which only finishes what the base model began; put the base model "
        "here (sd_xl_base_1.0.safetensors)",
        r"^conditioner\.embedders\.0\.model\.",
    ),
    Kind(
        f"it is Playground 2.5 or CosXL, whose noise levels (EDM) are not supported; {TAKE_ANOTHER}",
        r"^edm_(mean|std)$|^edm_vpred\.",
    ),
    Kind(
        "it is Stable Diffusion unCLIP, which draws from a picture's embedding and not from a text; take "
        "Stable Diffusion 2.1 itself",
        r"^(embedder\.model\.visual|noise_augmentor)\.",
    ),
    Kind(
        "it is Stable Diffusion 3, a transformer, which is not supported; Stable Diffusion 1, 2 and XL are",
        r"^(model\.diffusion_model\.)?joint_blocks\.\d+\.|^text_encoders\.(clip_[lg]|t5xxl)\.",
    ),
    Kind(
        "it is Flux or Chroma, a transformer, which is not supported; Stable Diffusion 1, 2 and XL are",
        r"^(model\.diffusion_model\.)?double_blocks\.\d+\.img_|^(model\.diffusion_model\.)?distilled_guidance_layer\.",
    ),
    Kind(
        "it is Stable Cascade, which is not supported; Stable Diffusion 1, 2 and XL are",
        r"^clip_txt_mapper\.|^down_blocks\.\d+\.\d+\.channelwise\.",
    ),
    Kind(
        "it is a transformer that draws by diffusion (as PixArt, Lumina, HunyuanDiT, AuraFlow, Wan, Qwen-Image), which "
        "is not supported; Stable Diffusion 1, 2 and XL are",
        r"adaLN_modulation|adaln_single|scale_shift_table|^(model\.diffusion_model\.)?(double_layers|noise_refiner)\.",
    ),
    Kind(
        "it is CompVis' latent diffusion with a BERT for a text encoder, or without any, which came before Stable "
        "Diffusion and is not supported; Stable Diffusion 1, 2 and XL are",
        r"^cond_stage_model\.(transformer\.(token_emb|attn_layers)|embedding)\.",
    ),
    Kind(
        "it is Stable Diffusion in one file: put it under diffusers/ in the folder of the checkpoints, as "
        "data/checkpoints/diffusers/NAME.safetensors (or .ckpt)",
        r"^(cond_stage_model|conditioner\.embedders\.\d)\.",
        of="diffusers",
    ),
    Kind(
        "it is the UNet alone of an original file, without its text encoder; put the whole model here",
        r"^model\.diffusion_model\.",
    ),
    Kind(
        "it is a transformer over the codes of a VQGAN, without the VQGAN: put that one's weights and yaml there",
        r"^transformer\.(tok_emb|pos_emb|blocks\.)",
        without=r"^first_stage_model\.",
    ),
    Kind(
        f"it is a VQGAN in diffusers' names, which taming's network has not; {TAKE_ANOTHER}, with taming's yaml",
        r"^encoder\.down_blocks\.",
        test=lambda shapes: any(name.startswith("quantize.") for name in shapes),
    ),
    Kind(
        "it is a VQGAN: put it with its yaml into a folder vqgan-f16/NAME in the folder of the checkpoints (f: px per "
        "code: vqgan-f4, -f8, -f16 or -f32)",
        r"^(first_stage_model\.)?quantize\.",
        of="vqgan",
    ),
    Kind(
        "it is a VAE alone, which is a part of a model: put it beside a model without one (or in the place of its own) "
        "as diffusers/NAME.vae.safetensors for diffusers/NAME.safetensors",
        r"^(first_stage_model\.)?(encoder|decoder)\.mid(_block)?\.",
    ),
    Kind(
        "it is a tiny autoencoder (TAESD) for previews, which is no model; take the model it belongs to",
        r"^(encoder|decoder)\.layers\.\d+\.|^\d+\.conv\.0\.weight$|^taesd_",
    ),
    Kind(
        f"it is the UNet alone of a diffusers folder, whose other networks are missing; {_DIFFUSERS}",
        r"^(down_blocks|up_blocks)\.\d+\.(resnets|attentions)\.",
    ),
    Kind(
        "it is the classifier of guided diffusion, which draws nothing; put the diffusion network there, "
        "such as 256x256_diffusion_uncond.pt",
        r"^out\.2\.(positional_embedding|qkv_proj|c_proj)\b",
    ),
    Kind(
        "it is guided diffusion's network with ImageNet's classes, where the one without classes is needed: "
        "python -m generator.checkpoints download guided-diffusion-256 gets it",
        r"^label_emb\.weight$",
    ),
    Kind(
        "it is a network of guided diffusion: put it into a folder guided-diffusion-256/NAME (or guided-diffusion-512) "
        "in the folder of the checkpoints",
        r"^input_blocks\.\d+\.\d+\.",
        of="guided-diffusion",
    ),
    Kind(
        "it is CLIP: the published ones are fetched by name (python -m generator.checkpoints download ViT-B/32), and "
        "of others that of the second family alone is read, as clip/NAME.safetensors",
        r"^visual\.(transformer|conv1|proj|layer1|trunk|attnpool)\b|^(text_model|vision_model|text_projection)\b|"
        r"^transformer\.resblocks\.",
        of="clip",
    ),
    Kind(
        f"it is a T5, the text encoder of other models, and draws nothing; {TAKE_ANOTHER}",
        r"^(encoder\.)?block\.0\.layer\.0\.SelfAttention\.",
    ),
    Kind(
        "it is a language model, which writes and does not draw",
        r"^(model\.)?(language_model\.)?layers\.\d+\.(self_attn|attention)\.|^lm_head\.|^transformer\.h\.\d+\.|"
        r"^bert\.|^blk\.\d+\.attn_",
    ),
    Kind(
        "it restores faces (GFPGAN, CodeFormer, RestoreFormer) and draws nothing from a text",
        r"^stylegan_decoder\.|^(fuse_convs_dict|ft_layers)\.",
    ),
    Kind(
        "it is StyleGAN or a network like it, which is not supported; BigGAN-deep is: biggan-deep-256/NAME",
        r"^(mapping|synthesis)\.|^style\.\d+\.|^(convs|to_rgbs)\.\d+\.conv\.modulation\.|^g_mapping\.",
    ),
    Kind(
        "it is BigGAN of another author than Hugging Face's; pytorch-pretrained-biggan converts DeepMind's own models: "
        "python -m pytorch_pretrained_biggan.convert_tf_to_pytorch (or take biggan-deep-256)",
        r"^blocks\.\d+\.0\.(conv1|bn1)\.|^shared\.weight$",
        without=r"SelfAttention",
    ),
    Kind(
        "it is BigGAN-deep: put it with its config.json into a folder biggan-deep-128, -256 or -512/NAME in the folder "
        "of the checkpoints",
        r"^generator\.(gen_z|layers\.\d+)\.|^embeddings\.weight$",
        of="biggan",
    ),
    Kind(
        "it is an upscaler: put the file itself into the folder of the checkpoints, and name it as the setting "
        "`upscaler`",
        r"\b(RDB|rdb)1\.conv1|^layers\.\d+\.residual_group\.|^(model|body)\.\d+\.(weight|sub\.)|^conv_first\.weight$",
        of="upscaler",
    ),
    Kind(
        "it finds objects in pictures (as YOLO does for ADetailer) and draws nothing",
        r"^model\.(model\.)?\d+\.(conv|cv\d)\.",
    ),
    Kind(
        "it is the discriminator or the losses of a training, which draw nothing; put the generator's weights there",
        r"^(loss|discriminator|main\.\d+|perceptual_loss|criterion)\b",
    ),
)


def of_tensors(shapes: Shapes, loader: str = "") -> str | None:
    """What it is and what to do, as a sentence without a full stop; None where it is not known, or is what `loader`
    takes."""
    kind = kind_of(shapes)
    return None if kind is None or (kind.of and kind.of == loader) else kind.what


def kind_of(shapes: Shapes) -> Kind | None:
    """The kind of file whose tensors have these names and shapes; None where it is not known."""
    names = "\n".join(name for name, _ in zip(shapes, range(MAX_NAMES), strict=False))
    for kind in KINDS:
        if not re.search(kind.names, names, re.MULTILINE):
            continue
        if (kind.without and re.search(kind.without, names, re.MULTILINE)) or (kind.test and not kind.test(shapes)):
            continue
        return kind
    return None


# The first bytes of files that hold no tensors we read.
_HEADS: tuple[tuple[bytes, str], ...] = (
    (b"GGUF", "it is GGUF, weights rounded for llama.cpp; take the .safetensors they were made from"),
    (b"\x89HDF", "it is HDF5 (Keras, TensorFlow); take the model's PyTorch weights, .safetensors or .ckpt"),
    (b"\x89PNG", "it is a picture, not weights"),
    (b"\xff\xd8\xff", "it is a picture, not weights"),
    (b"RIFF", "it is a picture or a film, not weights"),
    (b"%PDF", "it is a text (PDF), not weights"),
    (
        b"version https://git-lfs",
        "it is Git LFS' note of where the weights are, not the weights: git lfs pull gets them",
    ),
    (b"\x1f\x8b", "it is packed with gzip; unpack it: gunzip --suffix '' -k FILE (or tar xzf FILE)"),
    (b"BZh", "it is packed with bzip2; unpack it: bunzip2 -k FILE"),
    (b"\xfd7zXZ", "it is packed with xz; unpack it: unxz -k FILE"),
    (b"\x28\xb5\x2f\xfd", "it is packed with zstd; unpack it: unzstd FILE"),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive; unpack it: 7z x FILE"),
    (b"Rar!", "it is a RAR archive; unpack it: unrar x FILE"),
    (b"\x93NUMPY", "it is an array of NumPy, not a model"),
    (b"ptrt", "it is an engine of TensorRT, made for one kind of GPU; take the .safetensors it was made from"),
    (b"ftrt", "it is an engine of TensorRT, made for one kind of GPU; take the .safetensors it was made from"),
    (b"\x08", "it looks like ONNX or TensorFlow, programs of their own; take the model's PyTorch weights"),
    (b"<", "it is a web page, not weights"),
    (b"{", "it is JSON: a configuration or an answer of a web site, not weights"),
)


def of_head(head: bytes) -> str | None:
    """What a file is that begins so (its first 512 bytes), as a sentence without a full stop; None: unknown."""
    if not head:
        return "it is empty; it was not downloaded whole"
    if head[257:262] == b"ustar":
        return "it is a tar archive; unpack it: tar xf FILE"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return (
            "it is a pickle of Python objects (as StyleGAN's .pkl), which are programs and are not run; save the "
            "weights alone where the model can be loaded: torch.save(model.state_dict(), 'model.ckpt')"
        )
    for start, what in _HEADS:
        if head.startswith(start) or (start in b"<{" and head.lstrip()[:1] == start):
            return what
    return None


def of_value(saved: Any) -> str | None:
    """What torch.save was given instead of a state dict, as `pickled` reads it; None where that is unknown."""
    from generator.checkpoints.pickled import Inert, StoredTensor

    if isinstance(saved, Inert):
        return (
            "it holds no state dict but a whole object of Python, which is a program and is not run; save the weights "
            "alone in the program that made it: torch.save(model.state_dict(), 'model.ckpt')"
        )
    if isinstance(saved, StoredTensor):
        return "it holds a single tensor, not a model"
    if not isinstance(saved, dict):
        return None
    names = {name for name in saved if isinstance(name, str)}
    if {"state", "param_groups"} <= names or ("optimizer_states" in names and "state_dict" not in names):
        return "it is the state of an optimiser, which a training goes on from and nothing is drawn with"
    if {"string_to_param", "string_to_token"} & names:
        return next(kind.what for kind in KINDS if kind.test is _embedding)
    if {"layer_structure", "sd_checkpoint_name"} <= names:
        return next(kind.what for kind in KINDS if "hypernetwork" in kind.what)
    if {"G", "D", "G_ema"} & names:
        return next(kind.what for kind in KINDS if "StyleGAN" in kind.what)
    return None
