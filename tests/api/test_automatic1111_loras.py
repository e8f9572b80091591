"""LoRAs as A1111's users name them: in the prompt, and in the list they choose from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from generator.checkpoints.inventory import own_loras
from generator.output.infotext import infotext
from generator.params import BadParams, validate
from tests.api.serving import Served
from tests.api.test_automatic1111 import STABLE, wished
from tests.pages.visits import Studio
from tests.tiny_loras import saved


def test_loras_are_named_in_the_prompt_and_are_no_words_of_it(visits: Studio) -> None:
    wish = wished(visits, {"prompt": "a (red:1.2) heart <lora:flat:0.80>, ink <lora:soft>", **STABLE})
    assert wish.values["prompt"] == "a (red:1.2) heart , ink" and wish.values["lora"] == ("flat:0.80", "soft")
    params = validate(wish.engine, wish.values)
    assert params.model_dump()["lora"] == ("flat:0.8", "soft:1")
    assert infotext(wish.engine, params, (512, 512)).startswith("a (red:1.2) heart , ink <lora:flat:0.8> <lora:soft:1>")


def test_a_model_that_takes_none_reads_them_as_words(visits: Studio) -> None:
    wish = wished(visits, {"prompt": "a heart <lora:flat:0.8>"})
    assert wish.values["prompt"] == "a heart <lora:flat:0.8>" and "lora" not in wish.values


@pytest.mark.parametrize(("tag", "said"), [("flat:0.8:0.5", "one weight"), ("../x:1", "names no LoRA")])
def test_what_cannot_be_read_is_said(visits: Studio, tag: str, said: str) -> None:
    with pytest.raises(BadParams, match=said):
        wish = wished(visits, {"prompt": f"a heart <lora:{tag}>", **STABLE})
        validate(wish.engine, wish.values)


def test_the_list_has_those_of_the_folder(api: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "lora" / "flat.safetensors", {"lora_unet_a.lora_down.weight": torch.ones(1, 1)})
    monkeypatch.setattr("studio.settings_form.own_loras", lambda _: own_loras(tmp_path))
    assert api.get("/sdapi/v1/loras").json() == [{"name": "flat", "alias": "flat", "path": "", "metadata": {}}]
