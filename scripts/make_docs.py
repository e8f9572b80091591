"""Writes docs/parameters.md and docs/engines.md from the declarations; `--check` fails if they are not up to date."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from generator import registry  # noqa: E402
from generator.checkpoints.inventory import Item, inventory  # noqa: E402
from generator.checkpoints.memory import estimate_memory  # noqa: E402
from generator.params import RECORD, params_class, validate_job  # noqa: E402
from scripts.gpu_report import described, tables  # noqa: E402
from settings import Settings  # noqa: E402

PARAMETERS, ENGINES = ROOT / "docs" / "parameters.md", ROOT / "docs" / "engines.md"
AGREEMENT = """No published weights could be loaded where this was written. On the same random weights these agree:

| what | with | checked by |
|---|---|---|
| BigGAN-deep's pictures | pytorch-pretrained-biggan, to 1e-4 | `tests/unit/test_biggan_published.py` |
| guided diffusion's UNet at both real sizes, and a whole guided run | openai/guided-diffusion, to 1e-6 | `python scripts/compare_openai_unet.py SOURCE`; `tests/unit/test_openai_unet.py` keeps numbers of both |
| LPIPS | its authors' package, to the last bit | `python scripts/compare_lpips.py SOURCE`; `tests/unit/test_lpips.py` |
| Stable Diffusion's pictures, every sampler | diffusers' pipelines, to 1e-4 | `tests/unit/test_stable_diffusion_agreement.py` |
| every real architecture at full size, in its published files, fetched over a bad line | strict loading, and two steps of the BigGANs and diffusion models | `python scripts/check_real_checkpoints.py [NAME ...]` |"""  # noqa: E501
SAME_BYTES = """\
The same settings and seed give the same picture, to the last byte, on one machine with one version of studio and
PyTorch, one device and one number of threads (`OMP_NUM_THREADS`): from the page, the API, `python -m generator` and
the library, alone or among others, and after an interruption or a restart of the executor.

- **On a CPU** it does not matter what else an executor draws: its jobs take turns, each makes its steps alone. In
  passes shared by several pictures a product has more rows and is summed in another order, and what begins in the
  last bit shows in the end. Sharing would save little: with the embedded models four pictures' steps take 1.0 to 1.5
  times the CPU time of a shared one (one thread, a busy machine; less of a whole job, which is also begun, upscaled
  and written). `T2I_EXACT=never` shares them.
- **On a GPU** jobs of one batch share their passes; a picture may then differ from the one drawn alone, by rounding
  at first. `T2I_EXACT=always`, or `job_executor.py --batch 1`, makes it exact. That the same seed gives the same bytes
  there has not been measured yet ([how](#on-a-gpu)).
- **Not promised**: the same bytes on another kind of processor, with or without a C compiler (below), or with another
  number of threads
  (`scripts/start.sh` gives each executor its share of the cores; `python -m generator` takes all of them unless
  `OMP_NUM_THREADS` is set), with another `memory` or `checkpoint_activations`, or after memory ran out: from then
  on the executor shows CLIP fewer cutouts at a time until it is started again.

Every setting works to the ends of what its schema permits, or is refused before anything is drawn: `python
scripts/check_bounds.py` tries the embedded models, `--pairs` the ends of every two numbers at once."""
FUSED = """Where the processor multiplies bfloat16 (AVX-512 BF16 or AMX) and there is a C compiler (`apt install
gcc`), VQGAN's decoder and CLIP's vision transformers run on kernels of our own: group norm and swish in one pass
forwards and two back, channels last, and the whole tower in bfloat16 ([generator/fused](../generator/fused)). They
are built in half a second when they are first needed, kept in `~/.cache/text-to-image-studio`, and left out where
they do not compute what torch does. `python scripts/benchmark_engine.py --real --threads 2` compares with plain
loops, and with the rate at which the chip multiplies two large matrices."""
SHAPES_FIRST = """\
VQGAN + CLIP that begins with random codes or a gradient can make its first steps at half the size: `coarse=0.5` makes
half of them so, then stretches z and goes on. The decoder has a quarter of the pixels to draw there, and CLIP pulls at
larger shapes. With the mini models, whose decoder costs little, the gain is in the pictures: 20 prompts, one seed, from
random codes, likeness to the prompt by a CLIP that guides none 0.11 -> 0.16 after 40 steps and 0.13 -> 0.18 after 80,
where it names 2 -> 6 of the 20. At real size such a step takes 0.69 of a whole one (304 px, ViT-B/32, two cores:
`python scripts/benchmark_engine.py --real --size 160` beside `--size 304`); with the published checkpoints pictures
have not been compared. Off by default, and not for pictures that begin with a draft or a picture, whose details it
would lose."""
COMPILED = """\
With `T2I_COMPILE=1` executors on CUDA compile VQGAN's decoder and CLIP's image towers (`torch.compile`, mode
`max-autotune-no-cudagraphs`), forwards and back, for 1, 2, 4, 8, ... pictures or cutouts; what comes between as
jobs join and leave is computed as before. Each shape is tried first: where it cannot be compiled, or its picture or
gradient differs by more than bfloat16 summed in another order, it is computed as before, and the log says so.
Kernels are kept in `~/.cache/text-to-image-studio/compiled` for the next start; which of several is the fastest is
found by trying, so that the same seed gives the same bytes only as long as they lie there. Off by default: whether
it is faster, and how long it takes at first, has not been measured ([how](#on-a-gpu))."""
MEASURED = ROOT / "docs" / "engines.json"  # written by scripts/measure_engines.py
GPU = ROOT / "docs" / "gpu.json"  # results.json of scripts/measure_gpu.sh
GPU_MEASURED = """One call measures everything on a machine with PyTorch, a GPU and no internet:

```
python scripts/pack_measuring.py measuring.tar
BUDGET_S=350 OUT=out scripts/measure_gpu.sh measuring.tar
cp out/results.json docs/gpu.json
python scripts/make_docs.py
```

The first line is for this machine: code and the packages that such a machine lacks beside PyTorch, at most 50 MB,
without the embedded weights (`--python` says for which versions of Python). The second is for that one, and ends in
time. Weights are random there. It compares the loop of VQGAN + CLIP at real size with plain ones, for one, four and
eight jobs, and with the rate of a product of matrices, as they are and compiled; looks whether every engine keeps
its promises there, tiny and at real size (the same seed, the same batch, among others, resumed, not finite, out of
memory); measures a step of each alone and eight together, how often it waits for the device, and a training step of
each preset. Each measurement is a process of its own with a time limit, and `results.json` is written after every
one. `SCALE=trial DEVICE=cpu BUDGET_S=1500` goes through it on a CPU. The last two lines put the tables into this
page."""


def allowed(schema: dict[str, Any]) -> str:
    """The values a field accepts, from its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(allowed(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and high is not None:
        from_, to = "above " * ("exclusiveMinimum" in schema), "below " * ("exclusiveMaximum" in schema)
        return f"{from_}{low:g} to {to}{high:,.10g}"
    kind = str(schema.get("type", ""))
    if schema.get("items", {}).get("type") == "integer":
        return "a list of numbers"
    return {"boolean": "yes or no", "string": "text", "array": "a list of names", "null": "nothing"}.get(kind, kind)


def table(engine: str) -> str:
    """One Markdown table: setting, default, allowed values, meaning."""
    cls = params_class(engine)
    rows = ["| setting | default | allowed | meaning |", "|---|---|---|---|"]
    for name, schema in cls.model_json_schema()["properties"].items():
        if schema["group"] == RECORD:
            continue
        default = schema.get("default", "drawn" if name == "seed" else "")
        shown = ", ".join(map(str, default)) if isinstance(default, list) else str(default)
        unit = f" {schema['unit']}" if schema.get("unit") else ""
        meaning = schema["description"].replace("|", r"\|")
        rows.append(f"| `{name}` | {shown}{unit if shown else ''} | {allowed(schema)} | {meaning} |")
    return "\n".join(rows)


def page() -> str:
    parts = [
        "# Parameters",
        "Written by `scripts/make_docs.py` from `generator/params`, `generator/registry` and `settings.py`. "
        "Defaults are those of the embedded mini models; a table below shows what other checkpoints start from. "
        "How prompts are read: [prompts.md](prompts.md).",
    ]
    for name, spec in registry.ENGINES.items():
        parts += [f"## {spec.title} (`{name}`)", spec.summary, table(name)]
    keys = list(dict.fromkeys(key for spec in registry.CHECKPOINTS.values() for key in spec.defaults))
    rows = ["| checkpoint | " + " | ".join(f"`{key}`" for key in keys) + " |", "|---" * (len(keys) + 1) + "|"]
    for name, checkpoint in registry.CHECKPOINTS.items():
        if not checkpoint.defaults:
            continue
        values = [checkpoint.defaults.get(key, "") for key in keys]
        cells = [", ".join(value) if isinstance(value, tuple) else str(value) for value in values]
        rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
    parts += ["## Defaults by checkpoint", "\n".join(rows), "## Configuration", configuration()]
    return "\n\n".join(parts) + "\n"


def configuration() -> str:
    """One Markdown table of the environment variables the entry points read."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        rows.append(f"| `T2I_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)


def engines_page() -> str:
    """What each engine and checkpoint needs, from the tables, and what was measured."""
    items = inventory(ROOT / "no-folder")
    parts = [
        "# Engines and checkpoints",
        "Written by `scripts/make_docs.py` from `generator/registry` and the tables of checkpoints, and by "
        "`scripts/measure_engines.py`. Size is that of the download. Memory is what the studio reckons one job with "
        "the settings shown to need before it starts it, weights included: an upper estimate, not a measurement. The "
        "page Models shows the same. All settings are in [parameters.md](parameters.md), models of your own in "
        "[own-checkpoints.md](own-checkpoints.md).",
    ]
    for engine, spec in registry.ENGINES.items():
        here = [item for item in items if item.kind not in ("clip", "lpips") and item.engines[0] == engine]
        if here:
            parts += [f"## {spec.title} (`{engine}`)", spec.summary, engine_table(here)]
    heading = "| name | for | size | memory of its weights | licence |\n|---|---|---|---|---|"
    rows = [
        f"| `{i.name}` | {used_for(i)} | {size(i)} | {gigabytes(i.memory_bytes)} | {licence(i)} |"
        for i in items
        if i.kind in ("clip", "lpips")
    ]
    parts += ["## CLIP and LPIPS", "What the engines look at their pictures with.", "\n".join([heading, *rows])]
    return (
        "\n\n".join(
            [
                *parts,
                "## Same seed, same bytes",
                SAME_BYTES,
                "## Faster on a CPU",
                FUSED,
                "## Shapes first",
                SHAPES_FIRST,
                "## Compiled on CUDA",
                COMPILED,
                "## Agreement with the originals",
                AGREEMENT,
                "## Measured",
                *measured(),
            ]
        )
        + "\n"
    )


def engine_table(items: list[Item]) -> str:
    """One Markdown table of the checkpoints of an engine."""
    rows = ["| checkpoint | size | memory | starts from | licence |", "|---|---|---|---|---|"]
    for item in items:
        values = registry.CHECKPOINTS[item.name].defaults
        shown = [f"{values['width']} x {values['height']} px"] if "width" in values else []
        shown += [f"{key} {values[key]}" for key in ("steps", "cutn", "candidates") if key in values]
        shown += ["+".join(values["clip"])] if "clip" in values else []
        cells = (size(item), memory(item), ", ".join(shown) or "the picture it is given", licence(item))
        rows.append(f"| `{item.name}`: {item.title} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def used_for(item: Item) -> str:
    if item.kind == "lpips":
        return "`init_scale` of guided diffusion"
    return f"guiding and ranking, at {registry.CLIP_MODELS[item.name].only_side} px"


def memory(item: Item) -> str:
    """Of one job; where `memory` is auto, of one that is drawn in less as well."""
    if registry.CHECKPOINTS[item.name].defaults.get("memory") != "auto":
        return gigabytes(item.memory_bytes)
    params = validate_job(item.engines[0], {"prompt": "any", "checkpoint": item.name})
    return f"{gigabytes(item.memory_bytes)}; {gigabytes(estimate_memory(params.sparing))} where less is free"


def size(item: Item) -> str:
    return gigabytes(item.download_bytes) if item.download_bytes else "embedded"


def licence(item: Item) -> str:
    return item.licence if item.download_bytes else "see [generator/weights](../generator/weights)"


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def measured() -> list[str]:
    """The tables of what was measured, per kind of device, and how to get those that are not there."""
    saved = json.loads(MEASURED.read_text()) if MEASURED.is_file() else {}
    said = [
        "`python scripts/measure_engines.py` measures every row anew and writes this page again. Real architectures "
        "have random weights there, which take as long as the published ones. A step is one of the sampler or "
        "optimiser, with the cutouts CLIP looks at, forward and backward; of an upscaler, a tile. The middle one of "
        "several counts."
    ]
    said += ["### On a GPU", *on_a_gpu()]
    if "cuda" in saved:
        said += ["### On a GPU, one job at a time", "Default settings.", measured_table(saved["cuda"], "it/s")]
    if "cpu" in saved:
        note = (
            "Embedded models with their default settings; the others with small pictures and few cutouts, since theirs "
            "are made for a GPU. Seconds are those of one core at work, memory is the peak of the whole process, both "
            "with one thread and in fp32 or what the processor is best at."
        )
        said += ["### CPU", note, measured_table(saved["cpu"], "s a step")]
    return said


def on_a_gpu() -> list[str]:
    """How it is measured there, and what was found."""
    if not GPU.is_file():
        return [GPU_MEASURED, "**Not measured yet: there was no GPU where this page was written.**"]
    found = json.loads(GPU.read_text())
    parts = [part for heading, text in tables(found) for part in (f"#### {heading}", text)]
    return [GPU_MEASURED, described(found), *parts]


def measured_table(found: dict[str, dict[str, Any]], unit: str) -> str:
    rows = [f"| checkpoint | job | {unit} | memory | machine |", "|---|---|---|---|---|"]
    for name in registry.CHECKPOINTS:
        if name in found:
            row = found[name]
            seconds = row["seconds_per_step"]
            speed = f"{1 / seconds:.2f}" if unit == "it/s" else f"{seconds:.2f}"
            rows.append(f"| `{name}` | {row['job']} | {speed} | {gigabytes(row['bytes'])} | {row['machine']} |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    args = parser.parse_args()
    pages = {PARAMETERS: page(), ENGINES: engines_page()}
    if args.check:
        return int(any(not path.exists() or path.read_text() != text for path, text in pages.items()))
    for path, text in pages.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
