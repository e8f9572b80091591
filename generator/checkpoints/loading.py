"""Weights into models: a checkpoint's files are checked, read without running any, and must fit to the last key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from generator import registry
from generator.checkpoints import stable_diffusion
from generator.checkpoints.diffusers_folder import read_folder
from generator.checkpoints.download import DownloadFailed, FolderProblem, Say
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.checkpoints.store import (
    damaged,
    download,
    find,
    installed,
    log,
    remove,
    require,
    require_all,
    weights_of,
)
from generator.checkpoints.taming_config import read_config
from generator.registry.sources import INDEX, TABLE

if TYPE_CHECKING:
    from torch import Tensor, nn

    from generator.models.biggan import BigGAN, MiniBigGAN
    from generator.models.clip import ClipModel
    from generator.models.contracts import Denoiser
    from generator.models.drafts import Drafter
    from generator.models.latent_unet import LatentDiffusionModel
    from generator.models.layout import Layout
    from generator.models.lpips import LPIPS
    from generator.models.pixel_diffusion import PixelDiffusion
    from generator.models.prior import Prior
    from generator.models.stable_diffusion import StableDiffusionModels
    from generator.models.vqgan import VQGAN

    Model = TypeVar("Model", VQGAN, ClipModel, Prior, Drafter, LatentDiffusionModel, PixelDiffusion, MiniBigGAN)

__all__ = [
    "TABLE",
    "CheckpointDamaged",
    "CheckpointMissing",
    "DownloadFailed",
    "FolderProblem",
    "check_installed",
    "download",
    "installed",
    "load_biggan",
    "load_clip",
    "load_diffusion",
    "load_drafter",
    "load_latent_diffusion",
    "load_lpips",
    "load_prior",
    "load_stable_diffusion",
    "load_vqgan",
    "remove",
    "require_all",
    "upscaler_weights",
    "verify",
]


def check_installed(names: Sequence[str], directory: Path) -> None:
    """Raises CheckpointMissing with the one command for all of them where more than one is not there."""
    listed = [name for name in names if name in TABLE and not installed(name, directory)]
    if len(listed) > 1:
        about = sum(find(name).about for name in listed) / 1e6
        raise CheckpointMissing(
            f"Checkpoints {' and '.join(listed)} are not installed in {directory}. "
            f"Get them ({about:.0f} MB) with: python -m generator.checkpoints download {' '.join(listed)}"
        )


def _missing_folder(name: str, folder: Path) -> CheckpointMissing:
    """The error to raise where a diffusers folder is not there: what belongs in it, and how to get it."""
    fetched = f"python -m generator.checkpoints download {name}"
    source = f"get it from Hugging Face with: {fetched}" if name.count("/") == 2 else "save your model there"
    return CheckpointMissing(
        f"There is no diffusers folder at {folder} ({INDEX}, text_encoder/, unet/, vae/, ... as save_pretrained writes "
        f"them with safe_serialization=True): {source}"
    )


def verify(name: str, directory: Path, say: Say = log.info) -> None:
    """Checks hashes, configuration and every key and shape. Raises CheckpointMissing, CheckpointDamaged."""
    kind = find(name, directory).kind
    if kind == "clip":
        load_clip(name, directory, "cpu", say=say)
    elif kind == "biggan":
        load_biggan(name, directory, "cpu", say=say)
    elif kind == "upscaler":
        upscaler_weights(name, directory, say=say)
    elif kind == "guided-diffusion":
        load_diffusion(name, directory, "cpu", say=say)
    elif kind == "lpips":
        load_lpips(name, directory, "cpu", say=say)
    elif kind == "diffusers":
        load_stable_diffusion(name, directory, say=say)
    else:
        load_vqgan(name, directory, "cpu", say=say)


def load_vqgan(name: str, checkpoints_dir: str | Path, device: str, *, say: Say = log.info) -> VQGAN:
    """The VQGAN of a checkpoint in fp32, in eval mode, without gradients, on `device`.

    Raises UnknownName, CheckpointMissing, CheckpointDamaged.
    """
    import torch

    from generator.checkpoints.state_dict import BadStateDict, read_state_dict
    from generator.models import vqgan

    if name == "mini":
        return _embedded(vqgan.load_mini).to(device)
    if find(name).kind != "vqgan":
        raise registry.UnknownName("VQGAN", name, ["mini", *(n for n, e in TABLE.items() if e.kind == "vqgan")])
    paths = require(name, Path(checkpoints_dir), say)
    weights, at = weights_of(paths), next(path for suffix, path in paths.items() if suffix in (".yaml", ".yml"))
    try:
        config = read_config(at)
    except ValueError as error:
        raise damaged(name, at, str(error)) from None
    try:
        tensors = _model_part(read_state_dict(weights))
        _check_shapes(tensors, find(name).shapes)
        with torch.device("meta"):  # no memory is taken on the word of a configuration
            model = vqgan.VQGAN(config)
        factor = registry.checkpoint_spec(name).factor
        if model.factor != factor:
            raise ValueError(
                f"it draws {model.factor} px per code, not {factor}: its folder belongs under vqgan-f{model.factor}/"
            )
        _load_strictly(model, tensors)
    except (BadStateDict, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise damaged(name, weights, _sentence(error)) from None
    return model.eval().requires_grad_(False).to(device)


def load_clip(name: str, checkpoints_dir: str | Path, device: str, *, say: Say = log.info) -> ClipModel:
    """The CLIP of that name in eval mode, without gradients, on `device`; fp16 weights are widened to fp32.

    Raises UnknownName, CheckpointMissing, CheckpointDamaged.
    """
    from generator.checkpoints.state_dict import BadStateDict, read_state_dict
    from generator.models import clip

    embedded = {"mini": clip.load_mini, "mini-robust": clip.load_robust}
    if name in embedded:
        return _embedded(embedded[name]).to(device)
    if find(name).kind != "clip":
        raise registry.UnknownName("CLIP model", name, [*embedded, *(n for n, e in TABLE.items() if e.kind == "clip")])
    paths = require(name, Path(checkpoints_dir), say)
    weights = weights_of(paths)
    try:
        tensors = read_state_dict(weights, torchscript=weights.suffix == ".pt")
        for key in ("input_resolution", "context_length", "vocab_size"):  # numbers, not weights, in OpenAI's archives
            tensors.pop(key, None)
        tensors = {key: value.float() for key, value in tensors.items()}
        _check_shapes(tensors, find(name).shapes)
        _check_finite(tensors)
        model = clip.from_state_dict(tensors, name)
    except (BadStateDict, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise damaged(name, weights, _sentence(error)) from None
    return model.float().eval().requires_grad_(False).to(device)


def load_stable_diffusion(name: str, checkpoints_dir: str | Path, *, say: Say = log.info) -> StableDiffusionModels:
    """Text encoders, UNet and VAE of a checkpoint or of a diffusers folder, in fp32, in eval mode, on the CPU.

    Raises UnknownName, CheckpointMissing, CheckpointDamaged.
    """
    from generator.checkpoints.state_dict import BadStateDict

    folder = Path(checkpoints_dir) / name
    own = registry.own_kind(name) is not None
    if not own:
        require(name, Path(checkpoints_dir), say)
    elif not (folder / INDEX).is_file():
        raise _missing_folder(name, folder)
    at = folder / INDEX
    try:
        layout = read_folder(folder)
        models = stable_diffusion.build(layout)
        for part, file, tensors in stable_diffusion.weights(models, layout):
            at = file
            if part is models.unet and not own:
                _check_shapes(tensors, find(name).shapes)
            _load_strictly(part, tensors)
    except (BadStateDict, KeyError, TypeError, ValueError, RuntimeError) as error:
        if own:
            raise CheckpointDamaged(f"The diffusers folder {folder} cannot be used: {_sentence(error)}.") from None
        raise damaged(name, at, _sentence(error)) from None
    for part in models.parts:
        part.eval().requires_grad_(False)
    return models


def load_diffusion(name: str, checkpoints_dir: str | Path, device: str, *, say: Say = log.info) -> Denoiser:
    """The denoising network of that name in fp32, in eval mode, without gradients, on `device`.

    Raises UnknownName, CheckpointMissing, CheckpointDamaged.
    """
    import torch

    from generator.checkpoints.state_dict import BadStateDict, read_state_dict
    from generator.models import openai_unet, pixel_diffusion

    if name == "mini-diffusion":
        return _embedded(pixel_diffusion.load_mini).to(device)
    kind = registry.own_kind(name) or name
    if kind not in openai_unet.ARCHITECTURES:
        raise registry.UnknownName("diffusion model", name, ["mini-diffusion", *openai_unet.ARCHITECTURES])
    (weights,) = require(name, Path(checkpoints_dir), say).values()
    try:
        tensors = read_state_dict(weights)
        _check_shapes(tensors, find(name).shapes)
        with torch.device("meta"):
            model = openai_unet.OpenAIUNet(openai_unet.ARCHITECTURES[kind])
        _load_strictly(model, tensors)
    except (BadStateDict, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise damaged(name, weights, _sentence(error)) from None
    return model.eval().requires_grad_(False).to(device)


def load_lpips(name: str, checkpoints_dir: str | Path, device: str, *, say: Say = log.info) -> LPIPS:
    """LPIPS in fp32, in eval mode, without gradients, on `device`. Raises CheckpointMissing, CheckpointDamaged."""
    import torch

    from generator.checkpoints.state_dict import BadStateDict, read_state_dict
    from generator.models import lpips

    paths = require(name, Path(checkpoints_dir), say)
    try:
        tensors = lpips.tensors_of(*(read_state_dict(path) for path in paths.values()))
        with torch.device("meta"):
            model = lpips.LPIPS()
        _load_strictly(model, tensors)
    except (BadStateDict, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise damaged(name, weights_of(paths), _sentence(error)) from None
    model.mean, model.spread = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (lpips.MEAN, lpips.SPREAD))
    return model.eval().requires_grad_(False).to(device)


def load_prior(device: str, layout: Layout) -> Prior:
    """The embedded prior (drafts to codes of the mini VQGAN) on `device`. Raises CheckpointDamaged."""
    from generator.models import prior

    return _embedded(lambda: prior.load_prior(layout)).to(device)


def load_drafter(device: str) -> Drafter:
    """The embedded layout and restyler (texts to drafts) on `device`. Raises CheckpointDamaged."""
    from generator.models import drafts

    return _embedded(drafts.load_drafter).to(device)


def load_latent_diffusion(device: str) -> LatentDiffusionModel:
    """The embedded latent diffusion on `device`. Raises CheckpointDamaged."""
    from generator.models import latent_unet

    return _embedded(latent_unet.load_mini).to(device)


def load_biggan(name: str, checkpoints_dir: str | Path, device: str, *, say: Say = log.info) -> BigGAN:
    """The BigGAN of that name in fp32, in eval mode, without gradients, on `device`; spectral norms folded in.

    Raises UnknownName, CheckpointMissing, CheckpointDamaged.
    """
    from generator.checkpoints.state_dict import BadStateDict, read_state_dict
    from generator.models import biggan
    from generator.registry.class_names import imagenet_classes

    if name == "mini-biggan":
        return _embedded(biggan.load_mini).to(device)
    if find(name).kind != "biggan":
        raise registry.UnknownName(
            "BigGAN", name, ["mini-biggan", *(n for n, e in TABLE.items() if e.kind == "biggan")]
        )
    paths = require(name, Path(checkpoints_dir), say)
    weights, side, classes = weights_of(paths), registry.checkpoint_spec(name).only_side, list(imagenet_classes())
    try:
        config = biggan.read_config(paths[".json"].read_text(encoding="utf-8"), side or 0)
        if config["num_classes"] != len(classes):
            raise ValueError(
                f"num_classes is {config['num_classes']}; the {len(classes)} classes of ImageNet are needed"
            )
    except ValueError as error:
        raise damaged(name, paths[".json"], str(error)) from None
    try:
        tensors = read_state_dict(weights)
        _check_shapes(tensors, find(name).shapes)
        _check_finite(tensors)
        model = biggan.from_published(config, tensors, classes)
    except (BadStateDict, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise damaged(name, weights, _sentence(error)) from None
    return model.to(device)


def upscaler_weights(name: str, checkpoints_dir: str | Path, *, say: Say = log.info) -> dict[str, Tensor]:
    """The tensors of an upscaler of the table, as spandrel takes them.

    Raises UnknownName, CheckpointMissing, CheckpointDamaged.
    """
    from generator.checkpoints.state_dict import BadStateDict, read_state_dict

    if find(name).kind != "upscaler":
        raise registry.UnknownName("upscaler", name, [n for n, e in TABLE.items() if e.kind == "upscaler"])
    paths = require(name, Path(checkpoints_dir), say)
    weights = weights_of(paths)
    try:
        tensors = read_state_dict(weights)
        _check_shapes(tensors, find(name).shapes)
        _check_finite(tensors)
    except (BadStateDict, ValueError) as error:
        raise damaged(name, weights, _sentence(error)) from None
    return tensors


def _embedded(load: Callable[[], Model]) -> Model:
    from safetensors import SafetensorError

    try:
        return load()
    except FileNotFoundError as error:
        what = f"{Path(str(error.filename)).name} is missing"
    except (KeyError, ValueError, RuntimeError, SafetensorError) as error:
        what = _sentence(error)
    raise CheckpointDamaged(f"The embedded weights in generator/weights/ are not whole: {what}. Restore that folder.")


def _sentence(error: Exception) -> str:
    text = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
    return " ".join(text.split())[:400].rstrip(".")


_LOSS_PREFIXES = ("loss.",)
_FIRST_STAGE = "first_stage_model."


def _model_part(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the discriminator and LPIPS of the training; out of a transformer's checkpoint its first stage alone."""
    if any(key.startswith(_FIRST_STAGE) for key in tensors):
        tensors = {k.removeprefix(_FIRST_STAGE): v for k, v in tensors.items() if k.startswith(_FIRST_STAGE)}
    return {key: value for key, value in tensors.items() if not key.startswith(_LOSS_PREFIXES)}


def _check_shapes(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    for key, shape in expected.items():
        found = tuple(tensors[key].shape) if key in tensors else "missing"
        if found != shape:
            raise ValueError(f"{key} is {found} where {shape} belongs, so it is another model than its name says")


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    for key, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f"{key} holds values that are not finite")


def _load_strictly(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Every key and every shape must match; the message names the first ones that do not."""
    wanted = model.state_dict()
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    wrong = [key for key in sorted(wanted.keys() & tensors.keys()) if wanted[key].shape != tensors[key].shape]
    if missing:
        raise ValueError(f"{len(missing)} of {len(wanted)} tensors are missing, the first is {missing[0]}")
    if extra:
        raise ValueError(f"{len(extra)} tensors do not belong to the model, the first is {extra[0]}")
    if wrong:
        found, right = tuple(tensors[wrong[0]].shape), tuple(wanted[wrong[0]].shape)
        raise ValueError(
            f"{len(wrong)} tensors have another shape, the first is {wrong[0]}: {found} instead of {right}"
        )
    _check_finite(tensors)
    # Cloned, since the file is only mapped into memory and may be removed while the model lives.
    model.load_state_dict({key: value.float().clone() for key, value in tensors.items()}, strict=True, assign=True)
