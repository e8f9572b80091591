"""Weights are read from files nobody vouches for: nothing in them runs, and what they are is said in a sentence."""

from __future__ import annotations

import os
import struct
import subprocess
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from generator.checkpoints.building import TooLarge, within
from generator.checkpoints.errors import sentence, shown
from generator.checkpoints.state_dict import (
    BadStateDict,
    check_safetensors,
    check_whole,
    read_state_dict,
)
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


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_every_protocol_of_pickles_is_read(tmp_path: Path, protocol: int, zipped: bool) -> None:
    saved = {"state_dict": {"w": torch.arange(3.0)}, "tokens": bytearray(b"x"), "steps": [1, None, 0.5]}
    torch.save(saved, tmp_path / "x.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    check_whole(tmp_path / "x.pt")
    assert read_state_dict(tmp_path / "x.pt")["w"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["2024-01-01T10:20:30.pth", "C:x.pth", "a\tb.pth", "...pth", "a\\b.pth"])
def test_an_archive_is_read_whatever_its_file_was_called(tmp_path: Path, name: str) -> None:
    torch.save({"w": torch.ones(2)}, str(tmp_path / name))
    with zipfile.ZipFile(tmp_path / name, "a") as archive:
        folder = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{folder}/code/", b"")
    check_whole(tmp_path / name)
    assert read_state_dict(tmp_path / name)["w"].tolist() == [1, 1]


def test_an_archive_without_checksums_is_read_and_one_that_lacks_some_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(2)}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    check_whole(path)
    assert read_state_dict(path)["w"].tolist() == [1, 1]
    torch.save({"w": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive:
        crc = next(entry.CRC for entry in archive.infolist() if entry.filename.endswith("data/0"))
    path.write_bytes(path.read_bytes().replace(crc.to_bytes(4, "little"), bytes(4)))
    with pytest.raises(BadStateDict, match="wrong checksum"):
        check_whole(path)


def test_packed_parts_must_end_where_their_bytes_do(tmp_path: Path) -> None:
    path, text = tmp_path / "x.pth", bytes(3 << 20)
    for behind, cut in ((b"", 0), (b"evil", 0), (bytes(2 << 20), 0), (b"", 1)):
        pack = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = pack.compress(text) + pack.flush()
        packed = packed[: len(packed) - cut] + behind
        name = b"x/code.py"
        sizes = (zlib.crc32(text), len(packed), len(text))
        local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, *sizes, len(name), 0) + name + packed
        listed = (
            struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, *sizes, len(name), 0, 0, 0, 0, 0, 0) + name
        )
        end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(listed), len(local), 0)
        path.write_bytes(local + listed + end)
        if behind or cut:
            with pytest.raises(BadStateDict, match="do not belong to it" if behind else "cut short"):
                check_whole(path)
        else:
            check_whole(path)


@pytest.mark.parametrize(
    "wrapper", ["model_state_dict", "state_dict", "params_ema", "params-ema", "params", "model", "net"]
)
def test_weights_are_found_under_every_name_that_spandrel_knows(tmp_path: Path, wrapper: str) -> None:
    torch.save({wrapper: {"w": torch.ones(1)}, "epoch": 3}, tmp_path / "x.pth")
    assert list(read_state_dict(tmp_path / "x.pth")) == ["w"]


def test_tensors_that_repeat_their_numbers_are_read_and_plain_values_beside_them_left_out(tmp_path: Path) -> None:
    path, rows = tmp_path / "x.pth", torch.arange(4.0)
    beside = {"epoch": 3, "rate": 0.1, "name": "x", "nothing": None, "ema": True}
    torch.save({"w": torch.ones(1).expand(4, 4), "rows": rows.unfold(0, 2, 1), **beside}, path)
    read = read_state_dict(path)
    assert list(read) == ["w", "rows"]
    assert torch.equal(read["w"], torch.ones(4, 4)) and read["rows"].tolist() == [[0, 1], [1, 2], [2, 3]]
    torch.save({"w": torch.ones(1).expand(1 << 15, 1 << 15)}, path)
    with pytest.raises(BadStateDict, match="would unpack to 4295 MB"):
        read_state_dict(path)


def test_what_lies_beside_the_weights_in_an_old_file_is_passed_over(tmp_path: Path) -> None:
    beside = [torch.nn.Linear(2, 2), torch.zeros(3, dtype=torch.complex64), torch.zeros(3, dtype=torch.complex128)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is about to give up quantised tensors
        beside += [torch.quantize_per_tensor(torch.ones(5), 0.1, 0, kind) for kind in (torch.quint8, torch.qint32)]
        saved = {"state_dict": {"w": torch.arange(3.0)}, "beside": beside}
        torch.save(saved, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    assert read_state_dict(tmp_path / "x.pth")["w"].tolist() == [0, 1, 2]


def test_numbers_that_are_to_be_negated_are_not_read_as_they_are(tmp_path: Path) -> None:
    negative = torch.complex(torch.ones(2), torch.ones(2)).conj().imag
    assert negative.is_neg()
    torch.save({"w": negative}, tmp_path / "x.pth")
    with pytest.raises(BadStateDict, match="negated or conjugated"):
        read_state_dict(tmp_path / "x.pth")


def test_a_folder_is_no_file_of_weights_and_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    for read in (read_state_dict, check_whole, check_safetensors):
        with pytest.raises(BadStateDict, match="cannot be read"):
            read(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_state_dict(tmp_path / "x.pth")


def test_only_the_thread_that_builds_from_a_file_is_held_to_what_the_file_holds() -> None:
    with within({"w": torch.ones(1)}):
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.nn.Linear, 2000, 1000).result().weight.numel() == 2_000_000
        with pytest.raises(TooLarge, match="far more parameters than it holds"):
            torch.nn.Linear(2000, 1000)
    torch.nn.Linear(2000, 1000)


def test_names_are_shown_in_one_line_that_a_terminal_does_not_obey() -> None:
    for name in ("\x1b[2J" * 50, "a\n" * 50, "\ud800", "a" * 10**6, 10**5000, [[]] * 10**5, "\u202e" * 60):
        assert shown(name).isprintable() and len(shown(name)) <= 65
        assert len(sentence(ValueError(str(name)[:5000] if isinstance(name, str) else "x"))) <= 403
    assert shown("layer1.weight") == "'layer1.weight'" and sentence(KeyError("w")) == "w is missing"
    assert sentence(ValueError()) == "ValueError"
