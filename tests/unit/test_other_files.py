"""What is put into the wrong place, or is no model at all, is told for what it is and what can be done with it."""

from __future__ import annotations

import gzip
import io
import pickle
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from generator.checkpoints.errors import CheckpointDamaged
from generator.checkpoints.kinds import KINDS
from generator.checkpoints.own import own_folders
from generator.upscaler.model import UnsupportedUpscaler, load_upscaler
from tests.real_formats import load_named, save_yaml, taming_params

UNET, TEXT = "model.diffusion_model.input_blocks.0.0.weight", "cond_stage_model.transformer.text_model.final_layer_norm"
OPEN = "cond_stage_model.model.ln_final.weight"
XL = ("conditioner.embedders.0.transformer.text_model.x", "conditioner.embedders.1.model.ln_final.weight")
Held = dict[str, tuple[int, ...]]


def reads(channels: int) -> Held:
    return {UNET: (32, channels, 3, 3), f"{TEXT}.weight": (32,)}


def of(*names: str) -> Held:
    return dict.fromkeys(names, (2, 2))


# What a file holds, and what is said of it where a Stable Diffusion is expected: what it is, and what to do.
OTHERS: dict[str, tuple[Held, str, str]] = {
    "kohya's LoRA": (of("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"), "is a LoRA", "merge_lora.py"),
    "XL's LoRA": (of("lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha"), "is a LoRA", "sdxl_merge_lora.py"),
    "peft's LoRA": (of("unet.down_blocks.0.attentions.0.to_k.lora_A.weight"), "is a LoRA", "merge_lora.py"),
    "diffusers' LoRA": (of("unet.mid_block.attn1.processor.to_k_lora.down.weight"), "is a LoRA", "merge_lora.py"),
    "LoHa": (of("lycoris_x.hada_w1_a"), "LyCORIS", "merge_lora.py"),
    "LoKr": (of("lycoris_x.lokr_w1"), "LyCORIS", "merge_lora.py"),
    "ControlNet": (of("control_model.time_embed.0.weight"), "is a ControlNet", "init_image"),
    "diffusers' ControlNet": (of("controlnet_cond_embedding.conv_in.weight"), "is a ControlNet", "init_image"),
    "T2I-Adapter": (of("adapter.body.0.resnets.0.block1.weight"), "is a T2I-Adapter", "take the text-to-image model"),
    "IP-Adapter": (of("image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"), "is an IP-Adapter", "init_image"),
    "AnimateDiff": (
        of("down_blocks.0.motion_modules.0.norm.weight"),
        "a motion module",
        "take the text-to-image model",
    ),
    "textual inversion": ({"emb_params": (4, 768)}, "is a textual inversion", "into the prompt"),
    "XL's textual inversion": ({"clip_l": (4, 768), "clip_g": (4, 1280)}, "is a textual inversion", "into the prompt"),
    "diffusers' textual inversion": ({"<cat-toy>": (1, 1024)}, "is a textual inversion", "into the prompt"),
    "hypernetwork": (of("768.0.linear.0.weight"), "is a hypernetwork", "take the model alone"),
    "inpainting": (reads(9), "for inpainting", "mask_image"),
    "InstructPix2Pix": (reads(8), "InstructPix2Pix", "init_image"),
    "depth": (reads(5), "that is given depth", "take the text-to-image model"),
    "x4 upscaler": (reads(7), "x4 upscaler", "download swinir-l"),
    "refiner": (of(UNET, "conditioner.embedders.0.model.ln_final.weight"), "is the refiner", "sd_xl_base_1.0"),
    "Playground": (of(UNET, *XL, "edm_mean", "edm_std"), "Playground 2.5 or CosXL", "take the text-to-image model"),
    "CosXL": (of(UNET, *XL, "edm_vpred.sigma_max"), "CosXL", "take the text-to-image model"),
    "unCLIP": (of(UNET, OPEN, "embedder.model.visual.proj"), "unCLIP", "Stable Diffusion 2.1"),
    "Stable Diffusion 3": (of("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"), "Diffusion 3", "XL are"),
    "Flux": (of("double_blocks.0.img_attn.norm.key_norm.scale"), "is Flux", "1, 2 and XL are"),
    "Stable Cascade": (of("clip_txt_mapper.weight"), "Stable Cascade", "1, 2 and XL are"),
    "PixArt": (of("blocks.0.scale_shift_table"), "draws by diffusion (as PixArt", "1, 2 and XL are"),
    "Z-Image": (of("model.diffusion_model.layers.0.adaLN_modulation.0.weight"), "draws by diffusion", "XL are"),
    "latent diffusion of 2021": (of(UNET, "cond_stage_model.transformer.token_emb.weight"), "BERT", "1, 2 and XL are"),
    "UNet of an original file": (of(UNET), "is the UNet alone", "the whole model"),
    "UNet of a folder": (
        of("down_blocks.0.resnets.0.conv1.weight", "conv_in.weight"),
        "UNet alone",
        "model_index.json",
    ),
    "text encoder of an original file": (of(f"{TEXT}.weight"), "a text encoder and no UNet", "the whole model"),
    "VAE": (of("encoder.mid.block_1.norm1.weight", "post_quant_conv.weight"), "a VAE alone", "NAME.vae.safetensors"),
    "VAE of a folder": (of("decoder.mid_block.resnets.0.norm1.weight"), "a VAE alone", "NAME.vae.safetensors"),
    "TAESD": (of("decoder.layers.1.weight"), "a tiny autoencoder", "take the model it belongs to"),
    "VQGAN": (of("quantize.embedding.weight", "decoder.mid.block_1.norm1.weight"), "is a VQGAN", "vqgan-f16/NAME"),
    "diffusers' VQGAN": (of("encoder.down_blocks.0.x", "quantize.embedding.weight"), "in diffusers' names", "yaml"),
    "taming's transformer": (of("transformer.tok_emb.weight"), "a transformer over the codes", "weights and yaml"),
    "guided diffusion": (of("input_blocks.0.0.weight", "time_embed.0.weight"), "of guided diffusion", "-256/NAME"),
    "guided diffusion's classes": (of("label_emb.weight", "input_blocks.0.0.weight"), "ImageNet's classes", "download"),
    "its classifier": (of("input_blocks.0.0.weight", "out.2.c_proj.weight"), "the classifier", "256x256_diffusion"),
    "CLIP of Hugging Face": (of("text_model.encoder.layers.0.mlp.fc1.weight"), "it is CLIP", "download ViT-B/32"),
    "open_clip": (of("visual.conv1.weight", "transformer.resblocks.0.ln_1.weight"), "it is CLIP", "download ViT-B/32"),
    "T5": (of("encoder.block.0.layer.0.SelfAttention.q.weight"), "is a T5", "take the text-to-image model"),
    "a language model": (of("model.layers.0.self_attn.q_proj.weight"), "language model", "does not draw"),
    "GFPGAN": (of("stylegan_decoder.constant_input.weight"), "restores faces", "draws nothing"),
    "StyleGAN": (of("mapping.fc0.weight", "synthesis.b4.const"), "is StyleGAN", "biggan-deep-256/NAME"),
    "BigGAN's authors": (of("shared.weight", "blocks.0.0.conv1.weight"), "is BigGAN of another", "convert_tf"),
    "BigGAN-deep": (of("embeddings.weight", "generator.gen_z.weight_orig"), "is BigGAN-deep", "config.json"),
    "ESRGAN": (of("body.0.rdb1.conv1.weight", "conv_first.weight"), "is an upscaler", "`upscaler`"),
    "SwinIR": (of("layers.0.residual_group.blocks.0.norm1.weight"), "is an upscaler", "`upscaler`"),
    "YOLO": (of("model.0.conv.weight"), "finds objects", "draws nothing"),
    "discriminator": (of("discriminator.main.0.weight"), "is the discriminator", "generator's weights"),
    "an unknown model": (of("head.weight", "tail.weight"), "(its first tensor is head.weight)", "save_pretrained"),
}


def said_of(path: Path, root: Path, name: str) -> str:
    with pytest.raises(CheckpointDamaged) as refused:
        load_named(name, root)
    text = str(refused.value)
    assert text.isprintable() and len(text) < 700 and text.endswith("."), text
    assert str(path) in text or path.name in text
    return text


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_that_is_no_stable_diffusion_says_what_it_is_and_what_to_do(tmp_path: Path, kind: str) -> None:
    shapes, what, todo = OTHERS[kind]
    (tmp_path / "diffusers").mkdir()
    path = tmp_path / "diffusers" / "some.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, path)
    text = said_of(path, tmp_path, "diffusers/some.safetensors")
    assert what in text and todo in text
    assert own_folders(tmp_path) == [], "nobody is offered it"


def test_every_kind_there_is_has_an_example_here() -> None:
    names = ["\n".join(shapes) for shapes, _, _ in OTHERS.values()]
    left = [kind.what for kind in KINDS if not any(re.search(kind.names, one, re.MULTILINE) for one in names)]
    assert left == []


@pytest.mark.parametrize(
    ("place", "kind", "says"),
    [
        ("vqgan-f16", "kohya's LoRA", "is a LoRA"),
        ("vqgan-f16", "ESRGAN", "is an upscaler: put the file itself"),
        ("guided-diffusion-256", "guided diffusion's classes", "download guided-diffusion-256 gets it"),
        ("guided-diffusion-256", "inpainting", "for inpainting"),
        ("guided-diffusion-256", "VQGAN", "is a VQGAN: put it with its yaml"),
    ],
)
def test_the_same_is_said_where_another_model_is_expected(tmp_path: Path, place: str, kind: str, says: str) -> None:
    folder = tmp_path / place / "some"
    folder.mkdir(parents=True)
    if place.startswith("vqgan"):
        save_yaml(folder / "model.yaml", taming_params(64, ch=32, dim=32))
    shapes = OTHERS[kind][0]
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, folder / "model.safetensors")
    assert says in said_of(folder / "model.safetensors", tmp_path, f"{place}/some")


def test_a_model_among_the_upscalers_is_told_for_what_it_is(tmp_path: Path) -> None:
    shapes = OTHERS["kohya's LoRA"][0]
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "some.safetensors")
    with pytest.raises(UnsupportedUpscaler, match="is a LoRA or LyCORIS"):
        load_upscaler(str(tmp_path / "some.safetensors"))


def tar(data: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        about = tarfile.TarInfo("model.ckpt")
        about.size = len(data)
        archive.addfile(about, io.BytesIO(data))
    return made.getvalue()


def saved(value: Any) -> bytes:
    made = io.BytesIO()
    torch.save(value, made)
    return made.getvalue()


# What a file begins with or holds, and what is said of it.
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty; it was not downloaded whole|cannot mmap an empty file"),
    "GGUF": (b"GGUF\x03\0\0\0", "it is GGUF"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "it is HDF5 \\(Keras"),
    "ONNX": (b"\x08\x07\x12\x07pytorch", "ONNX or TensorFlow"),
    "PNG": (b"\x89PNG\r\n\x1a\n", "it is a picture"),
    "JPEG": (b"\xff\xd8\xff\xe0", "it is a picture"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "web page": (b"<!doctype html><title>404</title>", "it is a web page"),
    "JSON": (b'{"error": "Unauthorized"}', "it is JSON"),
    "gzip": (gzip.compress(b"x"), "gunzip"),
    "7z": (b"7z\xbc\xaf\x27\x1c", "7z x"),
    "RAR": (b"Rar!\x1a\x07", "unrar x"),
    "tar": (tar(b"x"), "tar xf"),
    "NumPy": (b"\x93NUMPY\x01\0", "array of NumPy"),
    "TensorRT": (b"ptrt\0\0\0\0", "engine of TensorRT"),
    "a pickle": (pickle.dumps({"G": 1, "D": 2, "G_ema": 3}, protocol=4), "a pickle of Python objects"),
    "a whole module": (saved(torch.nn.Linear(2, 2)), "no state dict but a whole object of Python"),
    "an optimiser": (saved({"state": {}, "param_groups": []}), "the state of an optimiser"),
    "a single tensor": (saved(torch.ones(2)), "a single tensor"),
    "A1111's embedding": (
        saved({"string_to_token": {"*": 265}, "string_to_param": {"*": torch.ones(1, 768)}, "name": "x"}),
        "is a textual inversion",
    ),
    "A1111's hypernetwork": (
        saved({768: (1, 2), "layer_structure": [1, 2, 1], "sd_checkpoint_name": "x"}),
        "is a hypernetwork",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_without_weights_says_what_it_is(tmp_path: Path, kind: str) -> None:
    data, says = FILES[kind]
    (tmp_path / "diffusers").mkdir()
    path = tmp_path / "diffusers" / "some.ckpt"
    path.write_bytes(data)
    assert re.search(says, said_of(path, tmp_path, "diffusers/some.ckpt"))
    assert own_folders(tmp_path) == []
