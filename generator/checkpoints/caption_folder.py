"""A model of one's own as a folder that diffusers' StableDiffusionPipeline loads without code of ours, and back.

A model in pixels has no VAE, and the pipeline needs one. Its folder has an AutoencoderTiny that changes nothing:
diffusers bends what that decodes by 3 tanh(z / 3), and ReLUs bend it back, piece by piece.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.checkpoints import caption_models
from generator.checkpoints.diffusers_folder import BadFolder, json_text
from generator.checkpoints.errors import UNFIT, CheckpointDamaged, sentence
from generator.checkpoints.loading import load_caption_diffusion
from generator.checkpoints.resolve import resolve
from generator.device import Host
from generator.registry.hub import INDEX
from lasting import make_folder

if TYPE_CHECKING:
    from torch import Tensor, nn

OURS = "text2image.json"  # the architecture, by which a folder can be imported again
PIECES, REACH = 32, 1.25  # of the line that bends back, and how far from 0 it goes
WEIGHTS = {"unet": "unet/diffusion_pytorch_model.safetensors", "text": "text_encoder/model.safetensors"}


def export_folder(name: str, folder: Path, checkpoints_dir: Path) -> None:
    """Write a caption-diffusion/NAME as such a folder. Raises CheckpointMissing, CheckpointDamaged, FileExistsError."""
    from generator.images.convert import no_picture
    from generator.models.caption_unet import CaptionModels
    from generator.models.torchvision_operators import declare

    declare()
    checkpoint = resolve(name, checkpoints_dir)
    models = load_caption_diffusion(checkpoint, Host("cpu", checkpoints_dir, no_picture))
    architecture = caption_models.read_architecture(checkpoints_dir / checkpoint.files[0].name)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; name a folder that is not there yet.")
    make_folder(folder)
    text: Any = models.texts.networks[0]
    models.unet.save_pretrained(folder / "unet")
    pixels = isinstance(models, CaptionModels)
    vae: Any = _unchanged() if pixels else models.vae
    vae.save_pretrained(folder / "vae")
    _save_text(text, folder)
    _save_tokenizer(text, folder / "tokenizer")
    _write(folder / "scheduler" / "scheduler_config.json", architecture.scheduler)
    _write(folder / OURS, architecture.model_dump(mode="json"))
    _write(
        folder / INDEX,
        {
            "_class_name": "StableDiffusionPipeline",
            "feature_extractor": [None, None],
            "requires_safety_checker": False,
            "safety_checker": [None, None],
            "scheduler": ["diffusers", "DDIMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", type(vae).__name__],
        },
    )


def import_folder(folder: Path, name: str, checkpoints_dir: Path) -> Path:
    """Such a folder, as it was exported or trained on since, as caption-diffusion/NAME; the file that was written.

    Raises CheckpointDamaged, FileExistsError.
    """
    import torch

    from generator.checkpoints.fitting import load_strictly
    from generator.checkpoints.state_dict import read_state_dict
    from generator.models.caption_architecture import Architecture
    from generator.models.caption_unet import build_text, build_unet

    path = checkpoints_dir / name / f"{name.rpartition('/')[2]}.safetensors"
    if path.exists():
        raise FileExistsError(f"{name} is there already; choose another name, or remove it first.")
    try:
        if not (folder / OURS).is_file():
            raise BadFolder(
                f"it has no {OURS}, so it was not exported here; a folder of Stable Diffusion is used as it is, put it "
                "under diffusers/ in the folder of the checkpoints"
            )
        architecture = Architecture.model_validate_json(json_text(folder / OURS))
        with torch.device("meta"):
            parts: dict[str, nn.Module] = {"unet": build_unet(architecture)}
            if not architecture.base:
                parts["text"] = build_text(architecture)
        for part, network in parts.items():
            tensors = read_state_dict(folder / WEIGHTS[part])
            load_strictly(network, {key.removeprefix("text_model."): value for key, value in tensors.items()})
    except UNFIT as error:
        raise CheckpointDamaged(f"{folder} cannot be imported: {sentence(error)}.") from None
    caption_models.write(path, parts, architecture, {"name": path.stem, "imported": True})
    return path


def _write(path: Path, value: dict[str, Any]) -> None:
    make_folder(path.parent)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _save_text(text: Any, folder: Path) -> None:
    """The text encoder as transformers' CLIPTextModel reads it."""
    from safetensors.torch import save_file

    end = text.bpe.encoder["<|endoftext|>"]
    config = {
        **text.config,
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "projection_dim": text.config.get("projection_dim", text.config["hidden_size"]),
        "bos_token_id": end - 1,
        "eos_token_id": end,
        "pad_token_id": end,
    }
    _write(folder / "text_encoder" / "config.json", config)
    tensors: dict[str, Tensor] = {f"text_model.{key}": value.contiguous() for key, value in text.state_dict().items()}
    save_file(tensors, folder / WEIGHTS["text"], metadata={"format": "pt"})


def _save_tokenizer(text: Any, folder: Path) -> None:
    """The tokenizer as transformers' CLIPTokenizer reads it."""
    _write(folder / "vocab.json", text.bpe.encoder)
    merges = "\n".join(" ".join(pair) for pair in text.bpe.bpe_ranks)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    special = {
        "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
        "pad_token": text.pad,
    }  # fmt: skip
    _write(folder / "special_tokens_map.json", special)
    more = {"tokenizer_class": "CLIPTokenizer", "model_max_length": text.places, "do_lower_case": True}
    _write(folder / "tokenizer_config.json", special | more)


def _unchanged() -> Any:
    """An AutoencoderTiny whose encoder and decoder give what they are given, to 1 / 20,000 of what a picture spans."""
    import torch
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    vae: Any = AutoencoderTiny(
        latent_channels=3,
        encoder_block_out_channels=(8,),
        decoder_block_out_channels=(3 * PIECES,),
        num_encoder_blocks=(0,),
        num_decoder_blocks=(0,),
    )
    for weight in vae.parameters():
        weight.data.zero_()
    (first, second), (widen, _, narrow) = vae.encoder.layers, vae.decoder.layers
    for colour in range(3):
        first.weight.data[colour, colour, 1, 1] = 1.0  # of the picture in [0, 1]
        second.weight.data[colour, colour, 1, 1], second.bias.data[colour] = 2.0, -1.0
    z = torch.linspace(-REACH, REACH, PIECES + 1, dtype=torch.float64)
    bent = 3 * torch.tanh(z / 3)
    slopes = (z[1:] - z[:-1]) / (bent[1:] - bent[:-1]) / 2  # of (z + 1) / 2, which the decoder makes 2 x - 1 of
    for colour in range(3):
        for piece in range(PIECES):
            row = PIECES * colour + piece
            widen.weight.data[row, colour, 1, 1], widen.bias.data[row] = 1.0, -bent[piece]
            narrow.weight.data[colour, row, 1, 1] = slopes[piece] - (slopes[piece - 1] if piece else 0.0)
        narrow.bias.data[colour] = (z[0] + 1) / 2
    return vae
