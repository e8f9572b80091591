"""Weights are read from files nobody vouches for: nothing in them runs, and what they are is said in a sentence."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from generator.checkpoints.state_dict import BadStateDict, read_state_dict
from tests.real_formats import Scripted, save_jit, save_lightning


class Malicious:
    """What a hostile checkpoint holds: unpickled by plain pickle, it runs a command."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


def test_a_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "owned"
    attacks = [
        Malicious(os.system, f"touch {mark}"),
        Malicious(eval, f"open({str(mark)!r}, 'w')"),
        Malicious(exec, f"open({str(mark)!r}, 'w')"),
        Malicious(subprocess.Popen, ["touch", str(mark)]),
        Malicious(torch.hub.load, "x/y", "z"),
    ]
    # One at the top, one inside, one as a key, one where a tensor belongs.
    save_lightning(tmp_path / "a.ckpt", {"w": torch.ones(2)}, extra=attacks)
    assert torch.equal(read_state_dict(tmp_path / "a.ckpt")["w"], torch.ones(2))
    torch.save({"state_dict": {"w": attacks[0]}}, tmp_path / "b.ckpt")
    with pytest.raises(BadStateDict, match="'w' is no tensor"):
        read_state_dict(tmp_path / "b.ckpt")
    torch.save(attacks[0], tmp_path / "c.ckpt")
    with pytest.raises(BadStateDict, match="no state dict"):
        read_state_dict(tmp_path / "c.ckpt")
    torch.save({"state_dict": {"w": torch.ones(1)}, attacks[1]: 1}, tmp_path / "d.ckpt")
    assert list(read_state_dict(tmp_path / "d.ckpt")) == ["w"]
    torch.save({"w": torch.ones(1), "x": attacks}, tmp_path / "e.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(BadStateDict, match="'x' is no tensor"):
        read_state_dict(tmp_path / "e.bin")
    assert not mark.exists()


def test_a_pickle_cannot_change_the_functions_it_is_given(tmp_path: Path) -> None:
    # Protocol 2: _rebuild_tensor_v2 is pushed, then BUILD with the state (None, {"__defaults__": (1,)}).
    ops = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x0c\x00\x00\x00__defaults__K\x01\x85s\x86b."
    before = torch._utils._rebuild_tensor_v2.__defaults__
    with zipfile.ZipFile(tmp_path / "x.ckpt", "w") as archive:
        archive.writestr("archive/data.pkl", ops)
        archive.writestr("archive/version", "3\n")
    with pytest.raises(BadStateDict, match="no state dict"):
        read_state_dict(tmp_path / "x.ckpt")
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before


def test_other_kinds_of_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    path.write_text("<!doctype html><title>404</title>")
    with pytest.raises(BadStateDict, match="web page"):
        read_state_dict(path)
    path.write_bytes(b"weights")
    with pytest.raises(BadStateDict, match=r"neither safetensors nor what torch\.save writes"):
        read_state_dict(path)
    torch.save({"params_ema": {"w": torch.ones(1)}}, path, _use_new_zipfile_serialization=False)
    assert read_state_dict(path)["w"] == 1, "a file from before PyTorch 1.6"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(BadStateDict, match="cut short"):
        read_state_dict(path)
    torch.save({"w": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:-800])
    with pytest.raises(BadStateDict, match="cut short"):
        read_state_dict(path)
    save_jit(path, Scripted())
    with pytest.raises(BadStateDict, match="TorchScript program"):
        read_state_dict(path)
