"""The files of the checkpoints: where they come from, how they are fetched, and whether they are still what they were.

One literal table. sha256 is published for CLIP and guided diffusion only; for the others it is recorded beside the file
at first sight and checked from then on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from generator import registry
from generator.diffusers_folder import HUB, INDEX, BadFolder, HubFolder, any_folder, text_encoders
from generator.download import Progress, Say, fetch, sha256_of
from generator.taming_config import read_config

log = logging.getLogger(__name__)
MIB = 1 << 20
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
_WIKIART_LICENCE = "no licence stated by its publisher; made with taming-transformers (MIT) from WikiArt pictures"


class CheckpointMissing(RuntimeError):
    """Weights that are not on this machine; the message gives the one command that gets them and the size."""


class CheckpointDamaged(RuntimeError):
    """Weights that are there but cannot be used; the message says what is wrong and what to do."""


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
    """kind: "clip", "vqgan", "biggan", "guided-diffusion", "upscaler", or "diffusers", a folder of that name.

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


def _diffusers(name: str, hub: HubFolder) -> Checkpoint:
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
    **{name: _diffusers(name, hub) for name, hub in HUB.items()},
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
}


def find(name: str, directory: Path | None = None) -> Checkpoint:
    """The table's row, or that of a diffusers/OWNER/MODEL on Hugging Face; raises UnknownName.

    directory: where that folder's model_index.json may lie already, which says what else belongs to it.
    """
    if registry.OWN_FOLDER.fullmatch(name) and name.count("/") == 2:
        texts: tuple[str, ...] = ("text_encoder",)
        index = (directory or Path()) / name / INDEX
        if index.is_file():
            try:
                texts = text_encoders(index)
            except BadFolder as error:
                raise CheckpointDamaged(f"{name} cannot be used: {error}.") from None
        return _diffusers(name, any_folder(name.removeprefix("diffusers/"), texts))
    found: Checkpoint = registry.lookup("checkpoint", TABLE, name)
    return found


def _other_names(file: File) -> list[str]:
    only = file.name.endswith((".yaml", ".json", ".safetensors"))
    return [] if only else [f"{Path(file.name).stem}.safetensors"]


def _locate(file: File, directory: Path) -> Path | None:
    """The file under its own name, or the same weights as safetensors beside it."""
    return next((directory / n for n in (file.name, *_other_names(file)) if (directory / n).is_file()), None)


def installed(name: str, directory: Path) -> bool:
    """Whether all files of a checkpoint are there (not whether they are sound: see `verify`)."""
    spec = registry.CHECKPOINTS.get(name)
    return (spec is not None and spec.embedded) or all(_locate(f, directory) for f in find(name, directory).files)


def download(
    name: str,
    directory: Path,
    *,
    progress: Progress | None = None,
    say: Say = log.info,
    mirror: str | None = None,
    pause: float = 1.0,
) -> None:
    """Fetches the files of a checkpoint that are not there yet; see download.fetch.

    say: gets one sentence for each thing the user should know. mirror: a base URL tried before the sources.
    Raises UnknownName, DownloadFailed, FolderProblem.
    """
    entry = find(name, directory)
    listed = name in TABLE
    say(f"{name}: {f'{entry.about / 1e6:.0f} MB. ' if listed else ''}Licence: {entry.licence}.")
    first, *others = entry.files
    _fetch([first], directory, progress, say, mirror, pause)
    # Of a folder that is not in the table, its first file says what others there are.
    _fetch(others if listed else find(name, directory).files, directory, progress, say, mirror, pause)


def _fetch(
    files: Sequence[File], directory: Path, progress: Progress | None, say: Say, mirror: str | None, pause: float
) -> None:
    for file in files:
        if _locate(file, directory):
            say(f"{file.name} is already there.")
            continue

        def check(part: Path, digest: str, file: File = file) -> None:
            if file.sha256 and digest != file.sha256:
                raise ValueError(f"its sha256 is {digest[:12]}..., not {file.sha256[:12]}... as published")
            _plausible(part, file)

        urls = ((f"{mirror.rstrip('/')}/{file.name}",) if mirror else ()) + file.urls
        digest = fetch(
            urls, directory / file.name, check=check, size=file.size, about=max(file.about, 100_000),
            progress=progress, say=say, pause=pause,
        )  # fmt: skip
        if file.sha256:
            say(f"{file.name}: sha256 is the published one.")
        else:
            _record(directory / file.name, digest)
            say(
                f"{file.name}: no sha256 is published for it. The one of this download ({digest[:12]}...) is recorded "
                "and checked from now on."
            )


def _plausible(path: Path, file: File) -> None:
    """What can be checked where no sha256 is published: a configuration parses, an archive's checksums are right."""
    if file.name.endswith(".yaml"):
        read_config(path)
    elif file.name.endswith(".json"):
        json.loads(path.read_text(encoding="utf-8"))
    elif file.name.endswith(".safetensors"):
        from generator.state_dict import check_safetensors

        check_safetensors(path)
    elif not file.sha256:
        from generator.state_dict import check_whole

        check_whole(path)


def _record(path: Path, digest: str) -> None:
    record = _record_path(path)
    temporary = record.with_name(record.name + ".part")
    temporary.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    temporary.replace(record)


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _check_hash(name: str, file: File, path: Path, say: Say) -> None:
    """Against the published sha256, or the recorded one, which is made now if need be. Raises CheckpointDamaged."""
    digest = sha256_of(path)
    record = _record_path(path)
    if file.sha256 and path.name == file.name:
        if digest != file.sha256:
            raise damaged(name, path, f"its sha256 is {digest[:12]}..., not {file.sha256[:12]}... as published")
    elif record.is_file():
        recorded = record.read_text(encoding="utf-8", errors="replace").partition(" ")[0].strip()
        if digest != recorded:
            raise damaged(name, path, f"its sha256 is {digest[:12]}..., but {recorded[:12]}... was recorded for it")
    else:
        try:
            _record(path, digest)
            say(f"{path.name}: no sha256 is published for it; {digest[:12]}... is recorded and checked from now on.")
        except OSError:
            say(f"{path.name}: no sha256 is published for it, and none can be recorded: the folder is read-only.")


def damaged(name: str, path: Path, what: str) -> CheckpointDamaged:
    """The error to raise: what is wrong with a file, and the command that repairs it."""
    return CheckpointDamaged(
        f"{path.name} of checkpoint {name} cannot be used: {what}. Get it again with: "
        f"python -m generator.checkpoints remove {name} && python -m generator.checkpoints download {name}"
    )


def require_all(names: Sequence[str], directory: Path) -> None:
    """Raises CheckpointMissing, with one command for all of them, unless every checkpoint's files are there."""
    missing = [name for name in dict.fromkeys(names) if not installed(name, directory)]
    if missing:
        are = f"Checkpoint {missing[0]} is" if len(missing) == 1 else f"Checkpoints {' and '.join(missing)} are"
        size = sum(find(name, directory).about for name in missing) / 1e6
        raise CheckpointMissing(
            f"{are} not installed in {directory}. "
            f"Get {'it' if len(missing) == 1 else 'them'} ({size:.0f} MB) with: "
            f"python -m generator.checkpoints download {' '.join(missing)}"
        )


def require(name: str, directory: Path, say: Say | None = None) -> dict[str, Path]:
    """Paths of a checkpoint's files by suffix (".yaml", ".ckpt", ".pt", ".safetensors", ...).

    say: their hashes are checked as well, and it gets what the user should know. Raises UnknownName,
    CheckpointMissing, CheckpointDamaged.
    """
    entry, paths = find(name, directory), {}
    for file in entry.files:
        path = _locate(file, directory)
        if path is None:
            raise CheckpointMissing(
                f"Checkpoint {name} is not installed ({file.name} is not in {directory}). "
                f"Get it ({entry.about / 1e6:.0f} MB) with: python -m generator.checkpoints download {name}"
            )
        if say is not None:
            _check_hash(name, file, path, say)
        paths[path.suffix] = path
    return paths


def upscaler_file(name: str, directory: Path) -> Path | None:
    """The weights of an upscaler of the table, or of a file of that name in the folder; None for the embedded one.

    Raises CheckpointMissing.
    """
    if name in registry.CHECKPOINTS and registry.CHECKPOINTS[name].embedded:
        return None
    if name not in TABLE:
        path = directory / name
        if Path(name).name != name or not path.is_file():
            raise CheckpointMissing(
                f"There is no upscaler {name!r} in {directory}. Put the file there, or use mini-upscaler."
            )
        return path
    return next(iter(require(name, directory).values()))


def remove(name: str, directory: Path) -> list[Path]:
    """Deletes the files of a checkpoint, halves of files and records included; returns what was deleted."""
    gone = []
    for file in find(name, directory).files:
        for base in (file.name, *_other_names(file)):
            for path in (directory / f"{base}{end}" for end in ("", ".part", ".sha256")):
                if path.is_file():
                    path.unlink()
                    gone.append(path)
    return gone
