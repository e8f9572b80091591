"""Real checkpoints: fetched over a bad line, never trusted, loaded to the last key. Random weights, real formats."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from generator import registry
from generator.checkpoints import download, store
from generator.checkpoints.__main__ import main
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.checkpoints.resolve import resolve, resolve_clip
from generator.models.vqgan import VQModel
from generator.registry import PUBLISHED, UnknownName
from tests.real_formats import (
    CLIP_ARCHITECTURES,
    BadServer,
    Scripted,
    load_named,
    openai_clip,
    random_clip,
    random_vqgan,
    save_jit,
    save_lightning,
    save_yaml,
    taming_params,
)

REAL_CODES = {"imagenet-f16-1024": 1024, "imagenet-f16-16384": 16384, "wikiart-f16-1024": 1024}
REAL_CODES |= {"wikiart-f16-16384": 16384, "openimages-f8-8192": 8192}
NARROW_CLIP = (32, 32, 2, 64, 16, 77, 49408, 64, 1, 2)


def serve(monkeypatch: pytest.MonkeyPatch, server: BadServer, name: str, **changes: Any) -> None:
    """The table's row, with its files fetched from the local server and its size and hash those of what is there."""
    row = PUBLISHED[name]
    files = []
    for file in row.files:
        path = server.folder / file.name
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if file.sha256 else None
        size = path.stat().st_size if file.size else None
        urls = (f"{server.url}/{file.name}",)
        files.append(dataclasses.replace(file, urls=urls, sha256=sha256, size=size, about=path.stat().st_size))
    monkeypatch.setitem(PUBLISHED, name, dataclasses.replace(row, files=tuple(files), **changes))


def narrow_vqgan(folder: Path, name: str, *, gumbel: bool = False, **options: Any) -> tuple[VQModel, str]:
    """The real architecture with narrow layers, in the files of that checkpoint; the model and its codebook's key."""
    ckpt = next(f.name for f in PUBLISHED[name].files if f.name.endswith(".ckpt"))
    params = taming_params(64, gumbel=gumbel, ch=32, dim=32)
    model = random_vqgan(params, gumbel=gumbel)
    save_yaml((folder / ckpt).with_suffix(".yaml"), params, gumbel=gumbel)
    save_lightning(folder / ckpt, model.state_dict(), **options)
    return model, "quantize.embed.weight" if gumbel else "quantize.embedding.weight"


def narrow(monkeypatch: pytest.MonkeyPatch, server: BadServer, name: str, **options: Any) -> VQModel:
    model, key = narrow_vqgan(server.folder, name, **options)
    serve(monkeypatch, server, name, shapes={key: (64, 32)})
    return model


@pytest.mark.parametrize("name", REAL_CODES)
def test_the_real_configurations_have_the_shapes_the_table_expects(name: str) -> None:
    gumbel = name == "openimages-f8-8192"
    with torch.device("meta"):
        model = random_vqgan(taming_params(REAL_CODES[name], gumbel=gumbel), gumbel=gumbel)
    keys = model.state_dict()
    assert model.factor == registry.CHECKPOINTS[name].factor
    assert all(tuple(keys[k].shape) == shape for k, shape in PUBLISHED[name].shapes.items())
    if name == "imagenet-f16-16384":
        assert len(keys) == 343 and round(sum(p.numel() for p in model.parameters()) / 1e5) == 761


@pytest.mark.parametrize("name", CLIP_ARCHITECTURES)
def test_the_real_clips_have_the_shapes_and_input_side_the_tables_expect(name: str) -> None:
    side = CLIP_ARCHITECTURES[name][1]
    assert registry.CLIP_MODELS[name].only_side == side
    model = openai_clip("model")
    with torch.device("meta"):
        *rest, heads, _ = CLIP_ARCHITECTURES[name]
        keys = model.CLIP(*rest, heads, 1).state_dict()
    assert all(tuple(keys[k].shape) == shape for k, shape in PUBLISHED[name].shapes.items())


def test_every_name_a_person_can_choose_has_files_and_a_licence() -> None:
    tables = (registry.CHECKPOINTS, registry.CLIP_MODELS, registry.LOSS_NETWORKS)
    embedded = {name for table in tables for name, row in table.items() if row.embedded}
    assert set(PUBLISHED) == {name for table in tables for name in table} - embedded
    for row in PUBLISHED.values():
        assert row.licence and row.files
        for file in row.files:
            assert all(url.startswith("https://") for url in file.urls)
            assert row.kind != "clip" or file.sha256 in file.urls[0]


def test_a_vqgan_arrives_whole_over_a_line_that_keeps_dropping(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, tmp_path: Path
) -> None:
    model = narrow(monkeypatch, server, "imagenet-f16-1024", moments=True)
    size = (server.folder / "vqgan_imagenet_f16_1024.ckpt").stat().st_size
    server.drops = [10, 10_000_000, 700_000, 0, 1_300_000]
    seen: list[tuple[str, int, int | None]] = []
    said: list[str] = []
    store.download("imagenet-f16-1024", tmp_path, progress=lambda *p: seen.append(p), say=said.append, pause=0.001)
    resumed = [asked for path, asked in server.requests if path.endswith(".ckpt") and asked]
    assert resumed, "it went on from where the line was cut"
    assert server.served["vqgan_imagenet_f16_1024.ckpt"] == size, "no byte was fetched twice"
    assert seen[-1] == ("vqgan_imagenet_f16_1024.ckpt", size, size)
    assert not list(tmp_path.glob("*.part*"))
    assert "Licence: MIT" in said[0]
    assert any("no sha256 is published" in line and "recorded" in line for line in said)
    loaded = load_named("imagenet-f16-1024", tmp_path)
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.encode(image), model.encode(image))
        z = torch.randn(1, 32, 2, 2)
        assert torch.equal(loaded.decode(loaded.quantise(z)[0]), model.decode(model.quantise(z)[0]))
    assert not any(p.requires_grad for p in loaded.parameters())


def test_the_gumbel_vqgan_keeps_its_codes_under_embed(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, tmp_path: Path
) -> None:
    model = narrow(monkeypatch, server, "openimages-f8-8192", gumbel=True)
    store.download("openimages-f8-8192", tmp_path)
    loaded = load_named("openimages-f8-8192", tmp_path)
    assert loaded.gumbel and loaded.factor == 8
    assert torch.equal(loaded.codebook, model.codebook)


@pytest.mark.parametrize("published", [True, False], ids=["sha256 published", "none published"])
def test_damaged_bytes_are_noticed_and_fetched_again(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, tmp_path: Path, published: bool
) -> None:
    if published:
        name, file = "ViT-B/32", "ViT-B-32.pt"
        (server.folder / file).write_bytes(os.urandom(100_000))
        serve(monkeypatch, server, name)
    else:
        name, file = "wikiart-f16-1024", "vqgan_wikiart_1024.ckpt"
        narrow(monkeypatch, server, name)
        (tmp_path / "vqgan_wikiart_1024.yaml").write_bytes((server.folder / "vqgan_wikiart_1024.yaml").read_bytes())
    server.corrupt = 1
    said: list[str] = []
    store.download(name, tmp_path, say=said.append, pause=0.001)
    assert any("wrong or damaged" in line for line in said)
    assert (tmp_path / file).read_bytes() == (server.folder / file).read_bytes()


def test_the_mirror_is_used_when_the_source_is_gone(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, tmp_path: Path
) -> None:
    narrow(monkeypatch, server, "wikiart-f16-1024")
    row = PUBLISHED["wikiart-f16-1024"]
    gone = tuple(dataclasses.replace(f, urls=(f"{server.url}/gone", *f.urls)) for f in row.files)
    monkeypatch.setitem(PUBLISHED, "wikiart-f16-1024", dataclasses.replace(row, files=gone))
    server.refuse = {"/gone": 404}
    said: list[str] = []
    store.download("wikiart-f16-1024", tmp_path, say=said.append)
    assert any("answered 404" in line for line in said)
    assert store.installed(resolve("wikiart-f16-1024", tmp_path), tmp_path)


def test_a_web_page_in_place_of_a_checkpoint_is_no_checkpoint(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, tmp_path: Path
) -> None:
    narrow(monkeypatch, server, "wikiart-f16-1024")
    (server.folder / "vqgan_wikiart_1024.ckpt").write_text("<html>Sorry, this link has expired.</html>")
    with pytest.raises(download.DownloadFailed, match="wrong or damaged file"):
        store.download("wikiart-f16-1024", tmp_path, pause=0.001)
    assert not store.installed(resolve("wikiart-f16-1024", tmp_path), tmp_path)


@pytest.mark.parametrize("architecture", [NARROW_CLIP, (32, 64, (1, 1, 1, 1), 8, None, 77, 49408, 64, 1, 2)])
def test_openais_archive_loads_like_the_model_it_was_made_of(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, tmp_path: Path, architecture: tuple[Any, ...]
) -> None:
    model = random_clip(architecture)
    save_jit(server.folder / "ViT-B-32.pt", model)
    shapes = {"text_projection": tuple(model.state_dict()["text_projection"].shape)}
    serve(monkeypatch, server, "ViT-B/32", shapes=shapes)
    said: list[str] = []
    store.download("ViT-B/32", tmp_path, say=said.append)
    assert any("sha256 is the published one" in line for line in said)
    loaded = load_named("ViT-B/32", tmp_path)
    assert all(
        value.dtype == torch.float32 for value in loaded.network.state_dict().values() if value.is_floating_point()
    )
    images = torch.rand(2, 3, architecture[1], architecture[1])
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(model.half().float().visual((images - loaded.mean) / loaded.std), dim=1)
        assert torch.allclose(loaded.encode_image(images), wanted, atol=1e-5)


def test_a_clip_saved_as_safetensors_beside_it_is_taken_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = random_clip(NARROW_CLIP)
    save_file(dict(model.state_dict()), tmp_path / "ViT-B-32.safetensors")
    row = PUBLISHED["ViT-B/32"]
    monkeypatch.setitem(PUBLISHED, "ViT-B/32", dataclasses.replace(row, shapes={"text_projection": (64, 32)}))
    said: list[str] = []
    assert load_named("ViT-B/32", tmp_path, say=said.append).embed_dim == 32
    assert "recorded" in said[0]


def test_a_missing_checkpoint_says_the_command_that_gets_it_and_the_size(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissing, match=r"\(980 MB\) with: .*checkpoints download imagenet-f16-16384"):
        load_named("imagenet-f16-16384", tmp_path)
    with pytest.raises(CheckpointMissing, match=r"\(354 MB\) with: .*checkpoints download ViT-B/32"):
        load_named("ViT-B/32", tmp_path)


def test_a_file_that_changed_since_it_was_recorded_is_refused(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, tmp_path: Path
) -> None:
    narrow(monkeypatch, server, "wikiart-f16-1024")
    store.download("wikiart-f16-1024", tmp_path)
    path = tmp_path / "vqgan_wikiart_1024.ckpt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointDamaged, match=r"was recorded for it. Get it again with: .*remove wikiart-f16-1024"):
        load_named("wikiart-f16-1024", tmp_path)


def test_a_clip_with_another_hash_than_the_published_is_not_even_opened(tmp_path: Path) -> None:
    save_jit(tmp_path / "ViT-B-32.pt", Scripted())
    with pytest.raises(CheckpointDamaged, match="not 40d365715913"):
        load_named("ViT-B/32", tmp_path)


def _without_a_key(weights: dict[str, Any]) -> None:
    del weights["decoder.conv_out.weight"]


def _with_a_key(weights: dict[str, Any]) -> None:
    weights["decoder.another.weight"] = torch.zeros(3)


def _with_a_wrong_shape(weights: dict[str, Any]) -> None:
    weights["quant_conv.bias"] = torch.zeros(7)


def _with_nan(weights: dict[str, Any]) -> None:
    weights["quant_conv.bias"] = torch.full_like(weights["quant_conv.bias"], float("nan"))


def _of_another_codebook(weights: dict[str, Any]) -> None:
    weights["quantize.embedding.weight"] = torch.zeros(65, 32)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_without_a_key, "1 of 343 tensors are missing, the first is decoder.conv_out.weight"),
        (_with_a_key, "1 tensors do not belong to the model, the first is decoder.another.weight"),
        (_with_a_wrong_shape, r"quant_conv.bias: \(7,\) instead of \(32,\)"),
        (_with_nan, "quant_conv.bias holds values that are not finite"),
        (_of_another_codebook, "it is another model than its name says"),
    ],
)
def test_weights_must_match_to_the_last_key_and_shape(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: Any, sentence: str
) -> None:
    model, key = narrow_vqgan(tmp_path, "wikiart-f16-1024")
    row = PUBLISHED["wikiart-f16-1024"]
    monkeypatch.setitem(PUBLISHED, "wikiart-f16-1024", dataclasses.replace(row, shapes={key: (64, 32)}))
    weights = dict(model.state_dict())
    damage(weights)
    torch.save({"state_dict": weights}, tmp_path / "vqgan_wikiart_1024.ckpt")
    with pytest.raises(CheckpointDamaged, match=sentence):
        load_named("wikiart-f16-1024", tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model: [", "no yaml configuration"),
        ("<html></html>", "no model.params"),
        ("model: {target: os.system, params: {embed_dim: 1}}", "its model is system"),
        ("a: &a [x, x]\nb: [*a, *a]", "anchors"),
        (
            "model: {target: taming.models.vqgan.VQModel, params: {embed_dim: 32, n_embed: 1e99, ddconfig: {}}}",
            "its n_embed is",
        ),
    ],
)
def test_a_broken_configuration_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, sentence: str
) -> None:
    narrow_vqgan(tmp_path, "wikiart-f16-1024")
    (tmp_path / "vqgan_wikiart_1024.yaml").write_text(text)
    with pytest.raises(CheckpointDamaged, match=sentence):
        load_named("wikiart-f16-1024", tmp_path)


def test_the_first_stage_of_a_transformers_checkpoint_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, key = narrow_vqgan(tmp_path, "wikiart-f16-1024")
    from omegaconf import OmegaConf

    config = OmegaConf.load(tmp_path / "vqgan_wikiart_1024.yaml")
    target = "taming.models.cond_transformer.Net2NetTransformer"
    outer = {"model": {"target": target, "params": {"first_stage_config": config.model}}}
    OmegaConf.save(outer, tmp_path / "vqgan_wikiart_1024.yaml")
    weights = {f"first_stage_model.{k}": v for k, v in model.state_dict().items()}
    save_lightning(tmp_path / "vqgan_wikiart_1024.ckpt", weights | {"transformer.head.weight": torch.zeros(2)})
    row = PUBLISHED["wikiart-f16-1024"]
    monkeypatch.setitem(PUBLISHED, "wikiart-f16-1024", dataclasses.replace(row, shapes={key: (64, 32)}))
    assert torch.equal(load_named("wikiart-f16-1024", tmp_path).codebook, model.codebook)


@pytest.mark.parametrize("action", ["download", "verify", "remove"])
@pytest.mark.parametrize("name", ["mini", "mini-upscaler", "mini-robust", "nothing"])
def test_what_has_no_files_to_fetch_check_or_remove_is_told_what_has(
    action: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([action, name, "--checkpoints-dir", str(tmp_path)]) == 2
    assert f"Unknown checkpoint '{name}'. Choose one of: imagenet-f16-1024" in capsys.readouterr().err


def test_only_a_clip_is_taken_for_one() -> None:
    with pytest.raises(UnknownName, match=r"Unknown CLIP model 'swinir-l'. Choose one of: mini, mini-robust, RN50"):
        resolve_clip("swinir-l")


def test_the_commands_list_fetch_check_and_remove(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow(monkeypatch, server, "wikiart-f16-1024")
    folder = ["--checkpoints-dir", str(tmp_path / "weights")]
    assert main(["list", *folder]) == 0
    assert "not installed" in capsys.readouterr().out
    assert main(["verify", "wikiart-f16-1024", *folder]) == 2
    assert "is not installed" in capsys.readouterr().err
    assert main(["download", "wikiart-f16-1024", *folder]) == 0
    out = capsys.readouterr().out
    assert "Licence" in out and "wikiart-f16-1024 is installed" in out
    assert main(["download", "wikiart-f16-1024", *folder]) == 0
    assert "already there" in capsys.readouterr().out
    assert main(["verify", "wikiart-f16-1024", *folder]) == 0
    assert "hashes, keys and shapes are right" in capsys.readouterr().out
    assert main(["remove", "wikiart-f16-1024", *folder]) == 0
    assert not list((tmp_path / "weights").iterdir())
    assert main(["download", "no-such", *folder]) == 2
    assert "Choose one of: imagenet-f16-1024" in capsys.readouterr().err
    server.refuse = {f"/{file.name}": 404 for file in PUBLISHED["wikiart-f16-1024"].files}
    assert main(["download", "wikiart-f16-1024", *folder]) == 1
    assert "404" in capsys.readouterr().err


def test_hash_records_are_readable_by_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    store._record(tmp_path / "x", hashlib.sha256(b"abc").hexdigest())
    assert (tmp_path / "x.sha256").read_text() == f"{hashlib.sha256(b'abc').hexdigest()}  x\n"
