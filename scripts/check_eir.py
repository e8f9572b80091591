"""An unmodified EIR trainer trains from our stream: the tutorial's model in small, over the real protocol.

Needs what scripts/eir_environment.sh installs. Starts `python -m generator.training.stream` on pictures it draws, then
EIR's own eirtrain with several workers, ends it after so many epochs, and checks what it says.
Usage: python scripts/check_eir.py FOLDER [--size 32] [--pictures 96] [--batch 8] [--workers 2] [--epochs 2]
"""

from __future__ import annotations

import argparse
import csv
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white")
SHAPES = ("disc", "square")
VALIDATION = 16  # ids kept by EIR
SETUP_S, TRAINING_S = 60, 1500


def main() -> int:
    """Exit status 0 where it has trained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where scripts/eir_environment.sh has put eirtrain")
    for name, default in (("size", 32), ("pictures", 96), ("batch", 8), ("workers", 2), ("epochs", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    work = given.folder / "work" / "check"
    shutil.rmtree(work, ignore_errors=True)
    draw(work / "pictures", given.pictures, given.size)
    command = [sys.executable, "-m", "generator.training.stream", str(work / "pictures"), "--port", "0"]
    command += ["--epochs", str(given.epochs)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        address = address_of(server)
        configure(work / "conf", address, given)
        began = time.monotonic()
        names = {"global": ["globals"], "input": ["image", "caption"], "fusion": ["fusion"], "output": ["output"]}
        flags = [[f"--{kind}_configs", *(f"check/conf/{name}.yaml" for name in found)] for kind, found in names.items()]
        with (work / "eirtrain.log").open("w") as log:
            done = subprocess.run(
                [given.folder / "eirtrain", *(flag for each in flags for flag in each)],
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=TRAINING_S,
            )
        took = time.monotonic() - began
    finally:
        server.terminate()
        server.wait(20)
    return judge(work, done.returncode, took, given)


def draw(folder: Path, count: int, side: int) -> None:
    """Captioned pictures: shapes in colours."""
    folder.mkdir(parents=True)
    for n in range(count):
        colour, shape = COLOURS[n % len(COLOURS)], SHAPES[n // len(COLOURS) % len(SHAPES)]
        image = Image.new("RGB", (side, side), "grey")
        pen = ImageDraw.Draw(image)
        box = (n % 5 + 2, n % 3 + 2, side // 2 + n % 11, side // 2 + n % 7)
        (pen.ellipse if shape == "disc" else pen.rectangle)(box, fill=colour)
        image.save(folder / f"{n:05}.png")
        (folder / f"{n:05}.txt").write_text(f"a {colour} {shape} on grey")


def address_of(server: subprocess.Popen[str]) -> str:
    """What the server prints when it listens."""
    assert server.stdout is not None
    for line in server.stdout:
        print(line, end="")
        if found := re.search(r"ws://\S+/ws", line):
            return found[0]
    raise SystemExit("The server ended before it listened.")


def configure(folder: Path, address: str, given: argparse.Namespace) -> None:
    """The tutorial's five files, with its connections, in small."""
    import json

    side = [given.size, given.size]
    images = {"adaptive_normalization_max_samples": 64, "mode": "RGB", "size": side}
    encoder = "input_modules.caption.feature_extractor.transformer_encoder.layers.0"
    blocks = "output_modules.image.feature_extractor.blocks.block_"
    files: dict[str, Any] = {
        "globals": {
            "basic_experiment": {
                "batch_size": given.batch,
                "dataloader_workers": given.workers,
                "memory_dataset": False,
                "output_folder": "check/run",
                "valid_size": VALIDATION,
            },
            "evaluation_checkpoint": {"checkpoint_interval": 10, "n_saved_models": 1, "sample_interval": 10},
            "data_preparation": {"streaming_setup_samples": given.pictures},
            "optimization": {"lr": 1e-3, "optimizer": "adamw", "gradient_clipping": 1.0},
            "lr_schedule": {"warmup_steps": 4, "lr_plateau_patience": 16},
            "training_control": {"early_stopping_patience": 32},
            "visualization_logging": {"plot_skip_steps": 0},
            "accelerator": {"hardware": "cpu", "devices": 1},
        },
        "image": {
            "input_info": {"input_source": address, "input_name": "image", "input_type": "image"},
            "input_type_info": {**images, "auto_augment": False},
            "model_config": {
                "model_type": "cnn",
                "model_init_config": {
                    "channel_exp_base": 3,
                    "kernel_width": 3,
                    "kernel_height": 3,
                    "down_stride_width": 1,
                    "down_stride_height": 1,
                    "first_stride_expansion_width": 1,
                    "first_stride_expansion_height": 1,
                    "first_kernel_expansion_width": 1.7,
                    "first_kernel_expansion_height": 1.7,
                    "allow_first_conv_size_reduction": False,
                    "down_sample_every_n_blocks": 2,
                    "layers": [2, 2, 2, 2],
                },
            },
            "tensor_broker_config": {
                "message_configs": [
                    {
                        "name": "bottleneck",
                        "layer_path": "input_modules.image.feature_extractor.conv.15",
                        "cache_tensor": True,
                        "layer_cache_target": "output",
                    }
                ]
            },
        },
        "caption": {
            "input_info": {"input_source": address, "input_name": "caption", "input_type": "sequence"},
            "input_type_info": {
                "max_length": 16,
                "split_on": " ",
                "sampling_strategy_if_longer": "uniform",
                "min_freq": 1,
            },
            "model_config": {"embedding_dim": 32, "model_init_config": {"num_layers": 1}},
            "tensor_broker_config": {
                "message_configs": [
                    {"name": "words", "layer_path": encoder, "cache_tensor": True, "layer_cache_target": "output"}
                ]
            },
        },
        "fusion": {"model_type": "pass-through"},
        "output": {
            "output_info": {"output_source": address, "output_name": "image", "output_type": "image"},
            "output_type_info": {
                **images,
                "loss": "diffusion",
                "diffusion_time_steps": 50,
                "diffusion_beta_schedule": "squaredcos_cap_v2",
            },
            "sampling_config": {
                "diffusion_inference_steps": 5,
                "diffusion_sampler": "ddim",
                "diffusion_eta": 0.2,
                "n_eval_inputs": 2,
            },
            "model_config": {"model_type": "cnn", "model_init_config": {"channel_exp_base": 4, "allow_pooling": True}},
            "tensor_broker_config": {
                "message_configs": [
                    {"name": "deep", "layer_path": f"{blocks}0", "use_from_cache": ["bottleneck"]},
                    {
                        "name": "told",
                        "layer_path": f"{blocks}1",
                        "use_from_cache": ["words"],
                        "cache_fusion_type": "cross-attention",
                        "projection_type": "sequence",
                    },
                ]
            },
        },
    }
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(json.dumps(content, indent=2))  # JSON is YAML


def judge(work: Path, status: int, took: float, given: argparse.Namespace) -> int:
    """What EIR wrote: losses at every step of its epochs, validation and samples."""
    log = (work / "eirtrain.log").read_text()
    history = {}
    for split in ("train", "validation"):
        path = work / "run" / f"{split}_average_history.log"
        history[split] = [*csv.DictReader(path.open())] if path.exists() else []
    samples = [*(work / "run").rglob("*_generated.png")]
    steps = int(history["train"][-1]["iteration"]) if history["train"] else 0
    expected = given.epochs * given.workers * ((given.pictures - VALIDATION) // given.batch)
    for split, rows in history.items():
        if rows:
            print(f"{split}: loss {rows[0]['loss-average']} at first, {rows[-1]['loss-average']} at last")
    faults = [line for line in log.splitlines() if " - ERROR - " in line or line.startswith("Traceback")]
    print(
        f"eirtrain ended with {status} after {took:.0f} s: {steps} steps (of {expected}), {len(samples)} samples drawn"
    )
    good = status == 0 and steps == expected and history["validation"] and samples and not faults
    if not good:
        print("\n".join([*faults[:20], "...", *log.splitlines()[-25:]]))
    print("An unmodified EIR trainer has trained from our stream." if good else "It has not trained as it should.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
