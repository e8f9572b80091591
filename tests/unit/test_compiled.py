"""Compiled networks compute what they computed; where they cannot be compiled, or err, nothing changes."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from generator import compiled
from generator.device import Host
from generator.engines import loading
from generator.images.convert import no_picture
from generator.models.vqgan import VQModel
from generator.precision import recomputed

DETAILS = {
    "double_z": False, "z_channels": 8, "resolution": 8, "in_channels": 3, "out_ch": 3, "ch": 32, "ch_mult": [1, 1],
    "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0,
}  # fmt: skip


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What is logged of compiling; the compiler's own lines left out."""
    caplog.set_level(logging.INFO, "generator.compiled")
    return lambda: [one.getMessage() for one in caplog.records if one.name == "generator.compiled"]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing lies in it yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "none"))
    torch._dynamo.reset()
    return tmp_path


@functools.cache
def vqgan() -> VQModel:
    torch.manual_seed(0)
    return VQModel({"embed_dim": 8, "n_embed": 16, "ddconfig": DETAILS}).eval().requires_grad_(False)


def an_engine(decoder: nn.Module) -> Any:
    return SimpleNamespace(vqgan=SimpleNamespace(decoder=decoder), clips=())


def with_gradient(network: nn.Module, given: Tensor) -> tuple[Tensor, Tensor]:
    given = given.clone().requires_grad_()
    made = network(given)
    (gradient,) = torch.autograd.grad(made.square().sum(), given)
    return made.detach(), gradient


def z(rows: int) -> Tensor:
    return torch.randn(rows, 8, 4, 4, generator=torch.Generator().manual_seed(rows))


@pytest.mark.filterwarnings("ignore")  # what the compiler says of itself
def test_a_compiled_decoder_draws_what_it_drew_and_its_kernels_are_kept(
    own_cache: Path, said: Callable[[], list[str]]
) -> None:
    decoder = copy.deepcopy(vqgan().decoder)
    compiled.compile_networks(an_engine(decoder), mode="default")
    for rows in (2, 3):
        for one, other in zip(with_gradient(decoder, z(rows)), with_gradient(vqgan().decoder, z(rows)), strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
    assert torch.equal(decoder(z(4)), vqgan().decoder(z(4))), "what is not stepped through is as it was"
    assert said() == ["the decoder is compiled for 2 x 8 x 4 x 4."]
    assert any((own_cache / "text-to-image-studio" / "compiled").rglob("*"))
    with recomputed(decoder):  # asked for to save memory
        assert torch.equal(decoder(z(2)), vqgan().decoder(z(2)))
    assert isinstance(vars(decoder)["forward"], compiled.Compiled)


class Otherwise(nn.Module):
    """Comes out otherwise where it is compiled."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if torch.compiler.is_compiling() else x * 3


@pytest.mark.filterwarnings("ignore")
def test_a_network_that_comes_out_otherwise_is_not_used_compiled_and_the_log_says_so(
    said: Callable[[], list[str]],
) -> None:
    network = Otherwise()
    compiled.compile_networks(an_engine(network), mode="default")
    assert torch.equal(with_gradient(network, z(1))[0], 3 * z(1))
    assert torch.equal(with_gradient(network, z(1))[0], 3 * z(1))
    (line,) = said()
    assert "the decoder is not used compiled for 1 x 8 x 4 x 4: it differs by 0.333" in line


@pytest.mark.filterwarnings("ignore")
def test_where_nothing_can_be_compiled_a_network_stays_as_it_is_and_the_log_says_so(
    said: Callable[[], list[str]],
) -> None:
    network = copy.deepcopy(vqgan().decoder)
    compiled.compile_networks(an_engine(network), mode="default")
    from torch._inductor import config

    with config.patch({"cpp.cxx": ("no-such-compiler",)}):
        made = with_gradient(network, z(1))
    for one, other in zip(made, with_gradient(vqgan().decoder, z(1)), strict=True):
        assert torch.equal(one, other)
    assert "the decoder is not compiled for 1 x 8 x 4 x 4" in said()[0]


def test_memory_that_runs_out_while_compiling_is_told_so_that_the_step_is_taken_in_smaller_parts() -> None:
    network = Otherwise()
    compiled.compile_networks(an_engine(network), mode="default")

    def too_large(x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    vars(network)["forward"].fast = too_large
    with pytest.raises(torch.OutOfMemoryError):
        with_gradient(network, z(1))


def test_a_cpu_compiles_nothing() -> None:
    engine: Any = loading.load("vqgan-clip", "mini", ("mini",), Host("cpu", Path(), no_picture, compiled=True))
    assert "forward" not in vars(engine.engine.vqgan.decoder)
