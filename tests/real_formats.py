"""Random weights in the formats the real checkpoints have, and a server that delivers them badly."""

from __future__ import annotations

import copy
import json
import sys
import threading
import types
import warnings
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

from generator.checkpoints.loading import LOADERS
from generator.checkpoints.resolve import resolve
from generator.device import Host
from generator.images.convert import no_picture
from generator.models.openai_unet import Architecture, OpenAIUNet
from generator.models.vqgan import VQModel
from generator.tokens import openai_clip

# OpenAI's own: embed_dim, image_resolution, vision_layers, vision_width, patch, context, vocabulary, text width, heads,
# text layers.
CLIP_ARCHITECTURES: dict[str, tuple[Any, ...]] = {
    "RN50": (1024, 224, (3, 4, 6, 3), 64, None, 77, 49408, 512, 8, 12),
    "RN101": (512, 224, (3, 4, 23, 3), 64, None, 77, 49408, 512, 8, 12),
    "RN50x4": (640, 288, (4, 6, 10, 6), 80, None, 77, 49408, 640, 10, 12),
    "ViT-B/32": (512, 224, 12, 768, 32, 77, 49408, 512, 8, 12),
    "ViT-B/16": (512, 224, 12, 768, 16, 77, 49408, 512, 8, 12),
    "ViT-L/14": (768, 224, 24, 1024, 14, 77, 49408, 768, 12, 12),
}


def load_named(name: str, directory: Path, say: Any = None) -> Any:
    """The model of a checkpoint on the CPU, by its name, as an engine gets it."""
    checkpoint = resolve(name, directory)
    return LOADERS[checkpoint.kind](checkpoint, Host("cpu", directory, no_picture), **({"say": say} if say else {}))


def taming_params(n_embed: int, *, gumbel: bool = False, ch: int = 128, dim: int = 256) -> dict[str, Any]:
    """`model.params` of the real yaml files; ch and dim are lowered for small models of the same architecture."""
    params: dict[str, Any] = {
        "embed_dim": dim,
        "n_embed": n_embed,
        "ddconfig": {
            "double_z": False,
            "z_channels": dim,
            "resolution": 256,
            "in_channels": 3,
            "out_ch": 3,
            "ch": ch,
            "ch_mult": [1, 1, 2, 4] if gumbel else [1, 1, 2, 2, 4],
            "num_res_blocks": 2,
            "attn_resolutions": [32] if gumbel else [16],
            "dropout": 0.0,
        },
        "lossconfig": {"target": "taming.modules.losses.vqperceptual.VQLPIPSWithDiscriminator", "params": {}},
    }
    return params | ({"kl_weight": 1e-8} if gumbel else {})


def save_yaml(path: Path, params: dict[str, Any], *, gumbel: bool = False) -> None:
    from omegaconf import OmegaConf

    target = "taming.models.vqgan.GumbelVQ" if gumbel else "taming.models.vqgan.VQModel"
    OmegaConf.save({"model": {"base_learning_rate": 4.5e-6, "target": target, "params": params}}, path)


def random_vqgan(params: dict[str, Any], *, gumbel: bool = False) -> VQModel:
    return VQModel({**params, "gumbel": gumbel}).eval()


def save_lightning(path: Path, weights: dict[str, torch.Tensor], *, extra: Any = None, moments: bool = False) -> None:
    """A .ckpt as Lightning 1.0 wrote it: callbacks by class, optimiser states, the loss networks' weights."""
    with _foreign_module("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint") as callback:
        instance = callback()
        instance.best_model_score = torch.tensor(0.5)
        state = OrderedDict(weights)
        state["loss.discriminator.main.0.weight"] = torch.randn(4, 3, 4, 4)
        state["loss.perceptual_loss.lin0.model.1.weight"] = torch.randn(1, 4, 1, 1)
        adam = {i: {"step": 7, "exp_avg": w.clone(), "exp_avg_sq": w.clone()} for i, w in enumerate(weights.values())}
        torch.save(
            {
                "epoch": 3,
                "global_step": 4711,
                "pytorch-lightning_version": "1.0.8",
                "callbacks": {callback: {"best_model_path": "x", "monitor": "val/rec_loss"}, "instance": instance},
                "optimizer_states": [{"state": adam if moments else {}, "param_groups": [{"lr": 4.5e-6}]}],
                "lr_schedulers": [],
                "extra": extra,
                "state_dict": state,
            },
            path,
        )


def random_openai_unet(architecture: Architecture, seed: int = 0) -> OpenAIUNet:
    """OpenAI's UNet with uniform weights that keep its numbers near 1; the same ones for the same seed."""
    with torch.device("meta"):
        model = OpenAIUNet(architecture)
    generator, weights = torch.Generator().manual_seed(seed), {}
    for key, shaped in model.state_dict().items():
        spread = 0.5 if shaped.dim() == 1 else (3 / shaped[0].numel()) ** 0.5
        weights[key] = (torch.rand(shaped.shape, generator=generator) * 2 - 1) * spread
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(False)


@contextmanager
def _foreign_module(module: str, name: str) -> Iterator[type]:
    """A class in a module that is gone again when the file is read, as Lightning is for this project."""
    names = [module.rsplit(".", n)[0] for n in range(module.count("."), -1, -1)]
    before = {n: sys.modules.get(n) for n in names}
    made = type(name, (), {"__module__": module})
    for n in names:
        sys.modules[n] = types.ModuleType(n)
    setattr(sys.modules[module], name, made)
    try:
        yield made
    finally:
        for n, old in before.items():
            sys.modules.pop(n)
            if old is not None:
                sys.modules[n] = old


def random_clip(architecture: tuple[Any, ...]) -> torch.nn.Module:
    """CLIP with OpenAI's own initialisation."""
    model: torch.nn.Module = openai_clip("model").CLIP(*architecture)
    return model.eval()


class Scripted(torch.nn.Module):
    """The least that save_jit takes."""

    def __init__(self) -> None:
        super().__init__()
        tower: Any = torch.nn.Identity()
        tower.input_resolution = 8
        self.visual = tower

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return image


def save_jit(path: Path, model: Any) -> None:
    """A TorchScript archive as OpenAI's: traced, fp16, with three numbers beside the weights."""
    model = copy.deepcopy(model)
    side = model.visual.input_resolution
    for key, value in (("input_resolution", side), ("context_length", 77), ("vocab_size", 49408)):
        vars(model).pop(key, None)
        model.register_buffer(key, torch.tensor(value))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        examples = torch.zeros(1, 3, side, side), torch.zeros(1, 77, dtype=torch.long)
        torch.jit.save(torch.jit.trace(model, examples, check_trace=False).half(), str(path))


class BadServer(ThreadingHTTPServer):
    """Serves a folder at `url`; what goes wrong is set by the attributes.

    drops: bytes after which each answer is cut off, one number per answer, then all is well; corrupt: how many answers
    of more than 10 kB, from the first byte on, get one bit changed; refuse: paths answered with that status; ranges:
    whether Range is honoured. `requests` holds (path, Range header) of each request.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.drops: list[int] = []
        self.corrupt = 0
        self.refuse: dict[str, int] = {}
        self.ranges = True
        self.requests: list[tuple[str, str | None]] = []
        self.served: Counter[str] = Counter()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: BadServer

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.requests.append((self.path, self.headers.get("Range")))
        if self.path in self.server.refuse:
            self.send_error(self.server.refuse[self.path])
            return
        path = self.server.folder / name
        size, start = path.stat().st_size, 0
        if self.server.ranges and (wanted := self.headers.get("Range")):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= size:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        else:
            self.send_response(200)
        length, sent, wrong = size - start, 0, -1
        if self.server.corrupt and start == 0 and length > 10_000:
            self.server.corrupt -= 1
            wrong = length // 2
        self.send_header("Content-Length", str(length))
        self.end_headers()
        cut = self.server.drops.pop(0) if self.server.drops else length
        with path.open("rb") as file:  # a piece at a time: real checkpoints have gigabytes
            file.seek(start)
            while piece := bytearray(file.read(min(1 << 20, min(cut, length) - sent))):
                if sent <= wrong < sent + len(piece):
                    piece[wrong - sent] ^= 1
                self.wfile.write(piece)
                sent += len(piece)
        self.server.served[name] += sent
        if cut < length:
            self.close_connection = True

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def bad_server(folder: Path) -> Iterator[BadServer]:
    with BadServer(folder) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


# Up-sample, channels in and out, in units of the width; attention stands before number 8.
_BIGGAN_BEGIN = [[False, 16, 16], [True, 16, 16], [False, 16, 16], [True, 16, 8], [False, 8, 8]]
BIGGAN_LAYERS: dict[int, list[Any]] = {
    128: [[True, 8, 4], [False, 4, 4], [True, 4, 2], [False, 2, 2], [True, 2, 1]],
    256: [[True, 8, 8], [False, 8, 8], [True, 8, 4], [False, 4, 4], [True, 4, 2], [False, 2, 2], [True, 2, 1]],
}
BIGGAN_LAYERS[512] = [*BIGGAN_LAYERS[256], [False, 1, 1], [True, 1, 1]]


def biggan_config(resolution: int, width: int = 128) -> dict[str, Any]:
    """config.json of BigGAN-deep; the width is lowered for small models of the same architecture."""
    return {
        "attention_layer_position": 8,
        "channel_width": width,
        "class_embed_dim": 128,
        "eps": 1e-4,
        "layers": _BIGGAN_BEGIN + BIGGAN_LAYERS[resolution],
        "n_stats": 51,
        "num_classes": 1000,
        "output_dim": resolution,
        "z_dim": 128,
    }


def random_biggan(config: dict[str, Any]) -> torch.nn.Module:
    """The package's own model: spectral norms converged, batch-norm statistics that differ for every truncation."""
    from pytorch_pretrained_biggan.config import BigGANConfig
    from pytorch_pretrained_biggan.model import BigGAN, BigGANBatchNorm, SelfAttn

    model: torch.nn.Module = BigGAN(BigGANConfig.from_dict(config)).eval()
    for part in model.modules():
        if isinstance(part, BigGANBatchNorm):
            part.running_means.normal_(std=0.1)
            part.running_vars.uniform_(0.2, 0.5)
            if not part.conditional:
                torch.nn.init.normal_(part.weight, std=0.3)
                torch.nn.init.normal_(part.bias, std=0.1)
        if isinstance(part, SelfAttn):
            torch.nn.init.ones_(part.gamma)
        for hook in part._forward_pre_hooks.values():
            for _ in range(5):
                hook.compute_weight(part, do_power_iteration=True)  # type: ignore[attr-defined]
    return model


def save_biggan(folder: Path, resolution: int, config: dict[str, Any], model: torch.nn.Module) -> Path:
    """config.json and pytorch_model.bin under their published names, written as PyTorch 1.0 wrote them."""
    (folder / f"biggan-deep-{resolution}-config.json").write_text(json.dumps(config, indent=2))
    path = folder / f"biggan-deep-{resolution}-pytorch_model.bin"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)
    return path


# Liang et al.'s SwinIR-L for real pictures.
SWINIR_L: dict[str, Any] = {
    "embed_dim": 240,
    "depths": [6] * 9,
    "num_heads": [8] * 9,
    "mlp_ratio": 2,
    "img_size": 64,
    "window_size": 8,
    "upscale": 4,
    "img_range": 1.0,
    "upsampler": "nearest+conv",
    "resi_connection": "3conv",
}


def save_swinir(path: Path, **changes: Any) -> torch.nn.Module:
    """A random SwinIR-L, or one with these sizes changed, saved as its makers do: under params_ema."""
    from generator.upscaler.model import swinir

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.meshgrid")
        network: torch.nn.Module = swinir().SwinIR(**{**SWINIR_L, **changes})
    torch.save({"params_ema": network.state_dict()}, path)
    return network


def random_vgg(seed: int = 0) -> dict[str, torch.Tensor]:
    """Tensors of torchvision's VGG16 under their names, uniform so that numbers stay near 1; a short classifier."""
    from generator.models.lpips import LPIPS

    with torch.device("meta"):
        shaped = {key: value for key, value in LPIPS().state_dict().items() if key.startswith("features.")}
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for key, value in shaped.items():
        spread = 0.1 if value.dim() == 1 else (6 / value[0].numel()) ** 0.5
        made[key] = (torch.rand(value.shape, generator=generator) * 2 - 1) * spread
    return made | {"classifier.6.bias": torch.zeros(1000)}
