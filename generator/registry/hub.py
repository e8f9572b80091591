"""Files of a model on Hugging Face that diffusers' save_pretrained wrote."""

from __future__ import annotations

from collections.abc import Mapping

from generator.registry.rows import File

INDEX = "model_index.json"
HUGGING_FACE = "https://huggingface.co"
# Rough MB of the largest networks there are, for a repository that is in no table.
ANY_MB = {"text_encoder": 1400, "text_encoder_2": 2900, "unet": 11_000, "vae": 400}


def tokenizer_of(text_encoder: str) -> str:
    """The folder of the tokenizer that belongs to a text encoder's."""
    return text_encoder.replace("text_encoder", "tokenizer")


def hub_files(folder: str, repository: str, mb: Mapping[str, int], kinds: tuple[str, ...] = ("",)) -> tuple[File, ...]:
    """mb: MB of each network's weights; kinds: which of their files, the first there is. Their names are below
    `folder`."""
    base = f"{HUGGING_FACE}/{repository}/resolve/main"
    small = [INDEX, "scheduler/scheduler_config.json", *(f"{network}/config.json" for network in mb)]
    small += [f"{tokenizer_of(one)}/tokenizer_config.json" for one in mb if one.startswith("text_encoder")]
    files = [File(f"{folder}/{name}", (f"{base}/{name}",), 5000) for name in small]
    for network, size in mb.items():
        stem = f"{network}/{'model' if network.startswith('text_encoder') else 'diffusion_pytorch_model'}"
        urls = tuple(f"{base}/{stem}{kind}.safetensors" for kind in kinds)
        files.append(File(f"{folder}/{stem}.safetensors", urls, size * 1_000_000))
    return tuple(files)
