"""Fused models compute what the models they are made of compute, faster; where they cannot be built nothing changes."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from generator.fused import kernels
from generator.fused.modules import fuse_decoder, fuse_encoder, fuse_tower
from generator.models.vqgan import VQModel
from generator.precision import Precision
from generator.tokens import openai_clip

DETAILS = {
    "double_z": False, "z_channels": 8, "resolution": 16, "in_channels": 3, "out_ch": 3, "ch": 32, "ch_mult": [1, 2],
    "num_res_blocks": 1, "attn_resolutions": [8], "dropout": 0.0,
}  # fmt: skip
NARROW = Precision(torch.device("cpu"), torch.bfloat16)
QUICK = ("-fopenmp", "-shared", "-fPIC")  # built in a moment, where it does not matter how fast they are

needs_kernels = pytest.mark.skipif(not kernels.available(), reason="There is no C compiler here.")


@pytest.fixture(autouse=True)
def as_built() -> Iterator[None]:
    """What one test has built or found missing is not what the next one finds."""
    library, there = kernels._library(), kernels.available()
    yield
    if kernels._library() is not library or kernels.available() != there:
        kernels._library.cache_clear()
        kernels.available.cache_clear()


@functools.cache
def vqgan() -> VQModel:
    torch.manual_seed(0)
    made = VQModel({"embed_dim": 8, "n_embed": 16, "ddconfig": DETAILS}).eval().requires_grad_(False)
    for part in made.modules():
        if isinstance(part, nn.GroupNorm):  # as they are taught: not what a norm begins with
            part.weight += 0.3 * torch.randn(part.num_channels)
            part.bias += 0.3 * torch.randn(part.num_channels)
    return made


@functools.cache
def tower() -> nn.Module:
    torch.manual_seed(1)
    made: nn.Module = openai_clip("model").CLIP(32, 64, 2, 64, 16, 77, 100, 32, 1, 1).visual
    return made.eval().requires_grad_(False)


def with_gradient(function: Callable[[Tensor], Tensor], given: Tensor) -> tuple[Tensor, Tensor]:
    given = given.clone().requires_grad_()
    made = function(given).float()
    made.square().sum().backward()
    assert given.grad is not None
    return made.detach(), given.grad


def frozen(norm: nn.GroupNorm) -> nn.GroupNorm:
    return norm.requires_grad_(False)


def apart(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).norm() / b.float().norm())


@needs_kernels
@pytest.mark.parametrize("batch, sides", [(1, (8, 8)), (2, (5, 9))])
def test_a_fused_decoder_draws_what_it_drew_and_leads_back_where_it_led(batch: int, sides: tuple[int, int]) -> None:
    fused = copy.deepcopy(vqgan())
    NARROW.narrow(fused.decoder)
    assert type(fused.decoder) is not type(vqgan().decoder)
    z = torch.randn(batch, 8, *sides, generator=torch.Generator().manual_seed(2))
    exact, its_gradient = with_gradient(vqgan().decode, z)
    with NARROW.autocast():
        plain, _ = with_gradient(vqgan().decode, z)
        picture, gradient = with_gradient(fused.decode, z)
    assert apart(picture, exact) < 1.5 * apart(plain, exact) < 0.05
    assert apart(gradient, its_gradient) < 0.1


@needs_kernels
def test_fused_networks_learn_what_they_learnt() -> None:
    """Every weight is led where it was led, those of the norms as well."""
    pictures = torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(4))

    def led(model: VQModel, narrow: bool) -> dict[str, Tensor]:
        model = copy.deepcopy(model).requires_grad_(True)
        if narrow:
            fuse_encoder(model.encoder)
            fuse_decoder(model.decoder)
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            made = model.decode(model.encode(pictures))
        (made.float() - pictures).square().mean().backward()
        return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}

    wanted, found = led(vqgan(), narrow=False), led(vqgan(), narrow=True)
    assert wanted.keys() == found.keys() and any("norm_out" in name for name in found)
    whole = torch.stack([gradient.norm() for gradient in wanted.values()]).norm()
    gaps = {name: (found[name] - gradient).norm() for name, gradient in wanted.items()}
    # A bias before a norm moves nothing: what is found of it is rounding.
    assert [name for name, gap in gaps.items() if gap > 0.1 * wanted[name].norm() + 0.01 * whole] == []
    assert sum(gap < 0.1 * wanted[name].norm() for name, gap in gaps.items() if "norm" in name) > 20


@needs_kernels
def test_a_fused_tower_sees_what_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    fused = copy.deepcopy(tower())
    fuse_tower(fused)
    pictures = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    exact, its_gradient = with_gradient(tower(), pictures)
    seen, gradient = with_gradient(fused, pictures)
    assert apart(seen, exact) < 0.03 and apart(gradient, its_gradient) < 0.06
    alone, _ = with_gradient(fused, pictures[:1])
    assert torch.equal(alone, seen[:1]), "whoever else is seen"


@needs_kernels
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_stay_so(wrong: float) -> None:
    x = torch.ones(1, 8, 2, 2, dtype=torch.bfloat16)
    x[0, 3, 1, 1] = wrong
    assert not kernels.group_norm(x, frozen(nn.GroupNorm(2, 8)), swish=True).isfinite().all()
    assert not kernels.quick_gelu(x).isfinite().all()


@needs_kernels
def test_what_the_kernels_cannot_compute_is_refused_and_not_computed_wrongly() -> None:
    x, norm = torch.randn(1, 8, 2, 2), frozen(nn.GroupNorm(2, 8))
    for refused in (x, x.half(), x.bfloat16()[:, :4], x.bfloat16()[0]):
        with pytest.raises(ValueError, match="used"):
            kernels.group_norm(refused, frozen(nn.GroupNorm(2, 8)), swish=True)
    with pytest.raises(ValueError, match="bfloat16"):
        kernels.quick_gelu(x)
    assert kernels.group_norm(x.bfloat16()[:0], frozen(norm), swish=True).shape == (0, 8, 2, 2)
    given = x.bfloat16().requires_grad_()
    for made in (kernels.group_norm(given, norm, swish=True), kernels.quick_gelu(given)):
        (gradient,) = torch.autograd.grad(made.float().square().sum(), given, create_graph=True)
        with pytest.raises(RuntimeError):  # rather than a second gradient that lacks the first one's part
            gradient.float().sum().backward()


@needs_kernels
def test_whether_they_are_right_can_also_be_found_out_where_no_gradient_is_taken() -> None:
    with torch.inference_mode():
        kernels.available.cache_clear()
        assert kernels.available()


@pytest.mark.parametrize("trouble", ["no compiler", "another result", "no program"])
def test_where_kernels_cannot_be_built_or_err_models_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trouble: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = kernels.SOURCE.read_text()
    if trouble == "no compiler":
        monkeypatch.setenv("PATH", str(tmp_path))
    elif trouble == "another result":
        monkeypatch.setattr(kernels, "SOURCE", tmp_path / "kernels.c")
        (tmp_path / "kernels.c").write_text(source.replace("1.44269504f", "1.5f"))
    else:
        monkeypatch.setattr(kernels, "SOURCE", tmp_path / "kernels.c")
        (tmp_path / "kernels.c").write_text(source[: len(source) // 2])
    for one in (kernels.available, kernels._library):
        one.cache_clear()
    kept = copy.deepcopy(vqgan())
    NARROW.narrow(kept.decoder)
    assert type(kept.decoder) is type(vqgan().decoder)


@needs_kernels
def test_they_are_built_once_and_kept_in_the_cache_of_who_runs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kernels, "FLAGS", QUICK)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernels._library.cache_clear()
    first, (kept,) = kernels._library(), tmp_path.glob("*/*")
    written = kept.stat().st_mtime_ns
    kernels._library.cache_clear()
    assert first is not None and kernels._library() is not None and kept.stat().st_mtime_ns == written


@needs_kernels
def test_what_lies_in_the_cache_is_run_only_where_it_is_whole_and_nobody_elses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kernels, "FLAGS", QUICK)

    def built(name: str) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        kernels._library.cache_clear()
        assert kernels._library() is not None
        return tmp_path / name / "text-to-image-studio"

    (kept,) = built("whole").iterdir()
    for trouble in ("damaged", "others may write it", "others may write there"):
        folder = tmp_path / trouble / "text-to-image-studio"
        folder.mkdir(parents=True)
        other = folder / kept.name
        other.write_bytes(kept.read_bytes()[: 1000 if trouble == "damaged" else None])
        os.utime(other, (1, 1))
        if trouble != "damaged":
            (other if trouble == "others may write it" else folder).chmod(0o777)
        built(trouble)
        assert (other.stat().st_mtime == 1) == (trouble == "others may write there"), "it is built anew"
        assert [one.name for one in folder.iterdir()] == [kept.name]


@needs_kernels
def test_who_has_no_home_has_kernels_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(kernels, "FLAGS", QUICK)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    kernels._library.cache_clear()
    assert kernels._library() is not None
