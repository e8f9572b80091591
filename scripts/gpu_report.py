"""The tables of what scripts/measure_gpu.py has found; what it has not says "not measured"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NONE = "not measured"
PLAIN = "z+quantize notebook"  # the loop that the goals are of
GOALS = {"one job": 8.0, "eight jobs": 12.0, "roofline": 0.4}
EIGHT = "ours, 8 jobs"


def report(found: Mapping[str, Any]) -> str:
    """All tables, in Markdown."""
    name = found.get("device", {}).get("device", {}).get("name", "a device of which nothing is known yet")
    parts = [part for heading, text in tables(found) for part in (f"## {heading}", text)]
    return "\n\n".join([f"# On {name}", described(found), *parts]) + "\n"


def tables(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Headings and what stands below them."""
    return [
        ("Goals", goals(found)),
        ("The loop of VQGAN + CLIP", loops(found)),
        ("Compiled", compiled(found)),
        ("Engines on it", engines(found)),
        ("Promises", promises(found)),
        ("A training step", training(found)),
        ("Measurements", runs(found)),
    ]


def described(found: Mapping[str, Any]) -> str:
    """The device and what it can do at best, in a sentence."""
    about = found.get("device", {}).get("device")
    if about is None:
        return "The device: " + NONE + "."
    said = [
        f"{about['name']}, driver {about['driver']}, PyTorch {about['torch']}, CUDA {about['cuda']}, "
        f"Python {about['python']}, {about['cores']} cores, products in {about['dtype']}."
    ]
    for name in ("bf16", "fp32"):
        if (rate := about.get(f"product_{name}")) is not None:
            said.append(f"{rate / 1e12:.2f} TFLOP/s in a product of large {name} matrices")
    if "copy" in about:
        said.append(f"{about['copy'] / 1e9:.0f} GB/s in a copy, read and written")
    return said[0] if len(said) == 1 else f"{said[0]} {'; '.join(said[1:])}."


def goals(found: Mapping[str, Any]) -> str:
    """Each goal, what was found, and whether it is reached."""
    if found["scale"] != "real":
        return "Of a trial nothing is said about them."
    all_loops = found.get("loops", {}).get("loops", {}).get("loops", {})
    against = all_loops.get(PLAIN, {}).get("ours_seen", {})
    share = all_loops.get(EIGHT, {}).get("share")
    rows = [
        (f"iterations a second of one job, against the {PLAIN}", GOALS["one job"], against.get("ours"), "{:.1f} x"),
        ("jobs an hour with eight at once, against the same", GOALS["eight jobs"], against.get(EIGHT), "{:.1f} x"),
        ("of the rate of a product of matrices, with eight", GOALS["roofline"], share, "{:.0%}"),
    ]
    cells = [
        (what, "at least " + shape.format(goal), *_reached(value, goal, shape)) for what, goal, value, shape in rows
    ]
    return table(("goal", "wanted", "found", "reached"), cells)


def _reached(value: float | None, goal: float, shape: str) -> tuple[str, str]:
    return (NONE, NONE) if value is None else (shape.format(value), "yes" if value >= goal else "no")


def compiled(found: Mapping[str, Any]) -> str:
    """With and without T2I_COMPILE."""
    kernels = found.get("loops", {}).get("kernels")
    if kernels is None:
        return NONE.capitalize() + "."
    took = f"Loading and compiling took {kernels['seconds']:.0f} s, beside other measurements."
    return f"{took} From the cache:\n\n{loops(found, 'compiled')}"


def loops(found: Mapping[str, Any], which: str = "loops") -> str:
    """Iterations of one picture a second, of every loop."""
    made = found.get("loops", {}).get(which)
    if made is None:
        return NONE.capitalize() + "."
    rows = [
        (
            name,
            f"{loop['seen']:.2f}",
            f"{loop['unseen']:.2f}",
            "" if name == PLAIN else _times(made, name),
            f"{loop['share']:.0%}" if "share" in loop else "",
            size(loop["bytes"]),
        )
        for name, loop in made["loops"].items()
    ]
    heads = ("loop", "it/s, every frame shown", "it/s, none shown", f"x {PLAIN}", "of a matrix product", "memory")
    said = f"{made['what']}, {made['size']} px, {made['cutn']} cutouts; an iteration is one of one picture."
    return said + "\n\n" + table(heads, rows)


def _times(made: Mapping[str, Any], name: str) -> str:
    """How many times as fast as the plain loop."""
    plain = made["loops"].get(PLAIN, {})
    ratio = plain.get("ours_seen", {}).get(name)
    if ratio is None:
        ratio = made["loops"][name]["seen"] / plain["seen"] if plain else None
    return "" if ratio is None else f"{ratio:.2f}"


def engines(found: Mapping[str, Any]) -> str:
    """Steps a second and memory of every checkpoint, alone and with others."""
    rows = []
    for name, row in found.get("engines", {}).items():
        jobs, seconds = row.get("together", (None, None))
        waits = row.get("waits")
        rows.append(
            (
                f"`{name}`",
                row["job"],
                f"{1 / row['seconds_per_step']:.2f}",
                size(row["bytes"]),
                NONE if jobs is None else f"{jobs / seconds:.2f} ({jobs} jobs)",
                size(row["bytes_together"]) if "bytes_together" in row else NONE,
                str(waits["times"]) if waits else "",
            )
        )
    heads = ("checkpoint", "job", "steps/s", "memory", "steps/s of all, together", "memory", "waits a step")
    return table(heads, rows) if rows else NONE.capitalize() + "."


def promises(found: Mapping[str, Any]) -> str:
    """Which promises each engine keeps, tiny ones and those of real size."""
    looked = {f"{name}, tiny": row["promises"] for name, row in found.get("promises", {}).items()}
    looked |= {f"`{name}`": row["promises"] for name, row in found.get("engines", {}).items() if "promises" in row}
    if not looked:
        return NONE.capitalize() + "."
    names = list(dict.fromkeys(name for row in looked.values() for name in row))
    rows = [(engine, *(_kept(row.get(name)) for name in names)) for engine, row in looked.items()]
    return table(("engine", *names), rows)


def _kept(one: Mapping[str, Any] | None) -> str:
    return NONE if one is None else ("kept: " if one["kept"] else "**broken**: ") + one["said"].replace("|", "/")


def training(found: Mapping[str, Any]) -> str:
    rows = [
        (
            f"`{name}`",
            f"{row['pictures']} of {row['size']} px",
            f"{row['seconds_per_step']:.3f}",
            f"{row['pictures'] / row['seconds_per_step']:.0f}",
            size(row["bytes"]),
            "yes" if row.get("resumed") else "no" if "resumed" in row else NONE,
        )
        for name, row in found.get("training", {}).items()
    ]
    heads = ("preset", "a step", "s a step", "pictures/s", "memory", "the same step when resumed")
    return table(heads, rows) if rows else NONE.capitalize() + "."


def runs(found: Mapping[str, Any]) -> str:
    """How each measurement ended."""
    rows = [
        (name, one["state"], f"{one['seconds']:.0f} s" if "seconds" in one else "", _brief(one.get("said", "")))
        for name, one in found["runs"].items()
    ]
    made = f"{found['scale']} scale, {found['device_name']}, {found['seconds']:.0f} s in all."
    return made + "\n\n" + table(("measurement", "state", "took", "its last words"), rows)


def _brief(text: str) -> str:
    return " ".join(text.split())[-200:].replace("|", "/")


def size(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines).replace("| ---", "|---").replace("--- |", "---|")
