"""What is learnt: low-rank terms in a frozen Stable Diffusion, and the loss diffusers' own LoRA scripts have
(examples/text_to_image/train_text_to_image_lora.py and _lora_sdxl.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from generator.checkpoints.lora_names import Part
from generator.checkpoints.training_needs import gets_terms, text_gets_terms
from generator.models.stable_diffusion import StableDiffusionModels
from generator.params.train_lora import Trained, TrainLoraParams
from generator.precision import Precision
from generator.sampling.samplers import dpm_solver_2m

ADAPTER = "default"


def layers_of(unet: nn.Module, trained: Trained) -> list[str]:
    """The names of the UNet's layers that get low-rank terms."""
    layers = ((name, layer) for name, layer in unet.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d))
    return [name for name, _ in layers if gets_terms(name, trained)]


def text_layers(network: nn.Module) -> list[str]:
    """The names of a text encoder's layers that get low-rank terms."""
    return [n for n, layer in network.named_modules() if isinstance(layer, nn.Linear) and text_gets_terms(n)]


def add_terms(models: StableDiffusionModels, params: TrainLoraParams) -> dict[Part, Any]:
    """Puts peft's low-rank layers into the networks, drawn from the seed, in float32; the networks that have them."""
    from peft import LoraConfig, inject_adapter_in_model

    parts: tuple[Part, ...] = ("unet", "text_encoder", "text_encoder_2")
    networks: dict[Part, Any] = dict(zip(parts, (models.unet, *models.texts.networks), strict=False))
    if not params.train_text:
        networks = {"unet": models.unet}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.seed)
        for part, network in networks.items():
            names = layers_of(network, params.trained) if part == "unet" else text_layers(network)
            settings: dict[str, Any] = {"r": params.rank, "lora_alpha": params.alpha, "lora_dropout": params.dropout}
            config = LoraConfig(target_modules=names, **settings)
            inject_adapter_in_model(config, network, ADAPTER)
    for network in networks.values():
        for weight in terms_of(network).values():
            weight.data = weight.data.float()
            weight.requires_grad_(True)
    return networks


def terms_of(network: nn.Module) -> dict[str, nn.Parameter]:
    """What is learnt of a network, by peft's names: LAYER.lora_A.default.weight and LAYER.lora_B.default.weight."""
    return {name: weight for name, weight in network.named_parameters() if ".lora_A." in name or ".lora_B." in name}


def read(models: StableDiffusionModels, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Texts, at most 75 tokens each, as the UNet is told them: hidden (N, 77, W), pooled (N, P), P 0 without one."""
    made = [network([(text,) for text in texts]) for network in models.texts.networks]
    if len(made) == 1:
        return made[0][0], made[0][0].new_zeros(len(texts), 0)
    return torch.cat([before for _, before, _ in made], dim=2), made[-1][2]


def answer(
    models: StableDiffusionModels,
    precision: Precision,
    x: Tensor,
    times: Tensor,
    texts: tuple[Tensor, Tensor],
    told: Tensor,
) -> Tensor:
    """The UNet's answer (B, C, h, w) float32. times: (B,); texts: hidden and pooled of each; told: (B, 6), what XL is
    told."""
    hidden, pooled = texts
    extra = {"text_embeds": pooled, "time_ids": told} if models.unet.config.addition_embed_type == "text_time" else {}
    with precision.autocast():
        said: Tensor = models.unet(x, times, hidden, added_cond_kwargs=extra, return_dict=False)[0]
    return said.float()


@torch.no_grad()
def draw(
    models: StableDiffusionModels,
    precision: Precision,
    params: TrainLoraParams,
    z: Tensor,
    texts: tuple[Tensor, Tensor],
    empty: tuple[Tensor, Tensor],
) -> Iterator[Tensor]:
    """A sample by DPM-Solver++(2M), a noise level at a time: z (1, C, h, w), from noise of deviation 1 to a picture."""
    path = models.schedule.path("dpm-solver-2m", params.sample_steps, params.sample_steps)
    z, before = path.start * z, None
    both = tuple(torch.cat([one, other]) for one, other in zip(texts, empty, strict=True))
    side = (z.shape[2] * 8, z.shape[3] * 8)
    told = torch.tensor([[*side, 0, 0, *side]], device=z.device).repeat(2, 1)
    for time, level, following in zip(path.times, path.levels, path.levels[1:], strict=False):
        times = torch.full((2,), time, device=z.device)
        cond, uncond = answer(models, precision, z.repeat(2, 1, 1, 1), times, (both[0], both[1]), told).chunk(2)
        said = uncond + params.cfg_scale * (cond - uncond)
        alpha, sigma = level
        if models.schedule.prediction == "epsilon":
            denoised = (z - sigma * said) / alpha
        else:
            denoised = alpha * z - sigma * said if models.schedule.prediction == "v_prediction" else said
        z = dpm_solver_2m(z, denoised, level, following, before)
        before = denoised, level
        yield z
