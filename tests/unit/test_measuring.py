"""What is measured on a GPU: one file goes there, and what comes back is what there was time for."""

from __future__ import annotations

import ast
import itertools
import json
import os
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from generator import bundles
from scripts import check_promises, gpu_report, measure_gpu, pack_measuring

ROOT = Path(__file__).resolve().parents[2]
NOTHING = bundles.Packages((), ())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without packages."""
    target = tmp_path_factory.mktemp("bundle") / "measuring.tar"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack_measuring, "LACKING", NOTHING)
        pack_measuring.pack(target, ["3.12"])
    return target


def test_the_bundle_holds_all_that_measuring_imports_and_no_embedded_weights(bundle: Path) -> None:
    with tarfile.open(bundle) as tar:
        names = set(tar.getnames())
    assert not [name for name in names if name.startswith("generator/weights/") or name.endswith(".pyc")]
    assert "scripts/unpack_bundle.sh" in names
    for name in (name for name in names if name.endswith(".py")):
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                for whole in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                    file = f"{whole.replace('.', '/')}.py"
                    assert file in names or not (ROOT / file).exists(), (name, whole)


def test_a_bundle_too_large_to_be_sent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(bundles.BundleTooLarge, match=r"at most 0 can be sent"):
        bundles.pack(tmp_path / "file.tar", bundles.code(["lasting.py"]), NOTHING, ["3.12"], max_bytes=10)


def test_the_script_leaves_its_results_where_there_was_no_time_for_any_measurement(
    bundle: Path, tmp_path: Path
) -> None:
    asked = {"BUDGET_S": "12", "OUT": str(tmp_path / "out"), "DEVICE": "cpu", "PYTHON": sys.executable}
    done = subprocess.run(
        ["sh", str(ROOT / "scripts" / "measure_gpu.sh"), str(bundle)],
        env={**os.environ, **asked, "WORK": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {run["state"] for run in found["runs"].values()} == {"left out: no time"}, done.stderr
    assert "not measured" in (tmp_path / "out" / "results.md").read_text()


def program(folder: Path, name: str, *lines: str) -> str:
    """One that is given --json FILE as its last arguments."""
    path = folder / f"{name}.py"
    path.write_text("\n".join(["import json, os, sys, time", *lines]))
    return str(path)


WRITES = "open(sys.argv[-1], 'w').write(json.dumps({'speed': 5}))"


def test_a_measurement_that_crashes_or_takes_too_long_costs_itself_alone_and_what_it_had_found_stays(
    tmp_path: Path,
) -> None:
    programs = {
        "good": program(tmp_path, "good", WRITES),
        "crashes": program(tmp_path, "crashes", WRITES, "print('it broke', flush=True)", "os._exit(3)"),
        "hangs": program(tmp_path, "hangs", "time.sleep(600)"),
        "last": program(tmp_path, "last", WRITES),
    }
    plan = [
        measure_gpu.Measurement("training", name, (path,), 1.0 if name == "hangs" else 60.0, alone=name == "last")
        for name, path in programs.items()
    ]
    results = measure_gpu.Results(tmp_path / "out", {"scale": "trial", "device_name": "cpu"})
    measure_gpu.measure(plan, results, time.monotonic() + 120, at_once=2)
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {name: run["state"] for name, run in found["runs"].items()} == {
        "training: good": "measured",
        "training: crashes": "failed (3)",
        "training: hangs": "out of time",
        "training: last": "measured",
    }
    assert set(found["training"]) == {"good", "crashes", "last"}
    assert "it broke" in (tmp_path / "out" / "log.txt").read_text()


def test_the_report_of_nothing_says_that_nothing_was_measured() -> None:
    said = gpu_report.report({"runs": {}, "scale": "real", "device_name": "cuda", "seconds": 0.0})
    assert said.count("ot measured") >= 7 and "yes" not in said


def test_the_report_says_which_goals_are_reached() -> None:
    loops: dict[str, Any] = {
        "ours": {"jobs": 1, "seen": 90.0, "unseen": 99.0, "bytes": 5e9, "share": 0.35},
        "ours, 8 jobs": {"jobs": 8, "seen": 110.0, "unseen": 120.0, "bytes": 9e9, "share": 0.45},
        "z+quantize notebook": {"jobs": 1, "seen": 10.0, "unseen": 12.0, "bytes": 4e9}
        | {"ours_seen": {"ours": 9.0, "ours, 8 jobs": 11.0}},
    }
    found = {"scale": "real", "loops": {"loops": {"what": "random", "size": 304, "cutn": 32, "loops": loops}}}
    lines = gpu_report.goals(found).splitlines()[2:]
    assert [line.split(" | ")[-2:] for line in lines] == [["9.0 x", "yes |"], ["11.0 x", "no |"], ["45%", "yes |"]]


def test_the_promises_of_an_engine_are_looked_into_on_the_device_at_hand(tmp_path: Path) -> None:
    case = check_promises.tiny("vqgan-clip", "cpu", tmp_path)
    found = check_promises.kept(case)
    assert set(found) == set(check_promises.PROMISES)
    assert all(one["kept"] for one in found.values()), found


def test_a_promise_that_is_not_kept_is_told(tmp_path: Path) -> None:
    case, seeds = check_promises.tiny("vqgan-clip", "cpu", tmp_path), itertools.count()
    other = replace(case, settings=lambda seed: case.settings(next(seeds)))
    found = check_promises.kept(other)
    assert found["same seed"] == {"kept": False, "said": "Broken: the same seed gave two pictures"}
    assert not found["resumed"]["kept"] and found["not finite"]["kept"] is not None
