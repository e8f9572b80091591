"""Score the embedded models; write docs/mini.md with tables and contact sheets: `python scripts/evaluate_mini.py`.

Needs the training data (`python -m generator.training.data`). Every engine draws 100 held-out prompts, 70 pictures of a
concept in a style that training did not show it in and 30 phrases that are no caption, from two seeds. A second CLIP,
which guides nothing, says which of the 100 prompts each picture shows (R-precision) and in which style. Sheets are
asked for without a style, as people do, and variations are of what VQGAN + CLIP drew. What an engine drew is kept in
data/evaluation, so that a run that was stopped goes on; --fresh draws again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from generator import registry  # noqa: E402
from generator.device import Host  # noqa: E402
from generator.engines import loading  # noqa: E402
from generator.engines.base import generate, generate_all  # noqa: E402
from generator.models.clip import load_judge, load_mini, load_robust  # noqa: E402
from generator.params import validate  # noqa: E402
from generator.params.sheet import SHEET_STYLES, on_sheet  # noqa: E402
from generator.params.vary import SKIP_RATE, varied  # noqa: E402
from generator.training import dataset, perception  # noqa: E402
from generator.training.scores import (  # noqa: E402
    FREE,
    Prompt,
    Ruler,
    on_white,
    prompts_of,
    ranked_first,
    reconstruction,
    retrieval,
)

BATCH = 8  # pictures in progress at once


@dataclass(frozen=True)
class Entry:
    """One line of the table: an engine with settings, or a baseline."""

    name: str
    title: str
    engine: str
    settings: dict[str, Any]
    target: float | None = None  # R-precision@1 it is to reach
    sheet: int = 0  # pictures that are asked for together, without a style; else one alone from each seed
    of: str | None = None  # the entry whose pictures these are variations of


ENTRIES = (
    Entry("vqgan-prior", "VQGAN + CLIP, from the prior", "vqgan-clip", {}, 0.8),
    Entry("vqgan-prior-0", "the prior's draft alone", "vqgan-clip", {"steps": 0}),
    Entry("latent-diffusion", "Latent diffusion", "latent-diffusion", {}, 0.8),
    Entry("guided-diffusion", "CLIP-guided diffusion, from the prior", "guided-diffusion", {}, 0.5),
    Entry("guided-diffusion-0", "the same without guidance", "guided-diffusion", {"clip_guidance_scale": 0}),
    Entry("guided-diffusion-noise", "CLIP-guided diffusion, from noise", "guided-diffusion", {"init": "noise"}),
    Entry("biggan", "BigGAN + CLIP", "biggan-clip", {}, 0.5),
    Entry("vqgan-components", "VQGAN + CLIP, from random z", "vqgan-clip", {"init": "components"}, 0.5),
    Entry(
        "vqgan-components-0",
        "random z, not optimised",
        "vqgan-clip",
        {"init": "components", "candidates": 1, "steps": 0},
    ),
    Entry("vqgan-random", "VQGAN + CLIP, from random codes", "vqgan-clip", {"init": "random", "steps": 60}),
    Entry(
        "vqgan-random-coarse",
        "the same, half of the steps at half the size",
        "vqgan-clip",
        {"init": "random", "steps": 60, "coarse": 0.5},
    ),
    Entry("vqgan-sheet", "VQGAN + CLIP, a sheet of six", "vqgan-clip", {}, sheet=6),
    Entry("latent-diffusion-sheet", "Latent diffusion, a sheet of six", "latent-diffusion", {}, sheet=6),
    Entry("vqgan-varied", "Variations, VQGAN + CLIP", "vqgan-clip", {}, of="vqgan-prior"),
    Entry("latent-diffusion-varied", "Variations, latent diffusion", "latent-diffusion", {}, of="vqgan-prior"),
)
RANKINGS: dict[str, dict[str, Any]] = {
    "the CLIP that guided": {"clip": ("mini",), "aesthetic_weight": 0.0},
    "both CLIPs": {"clip": registry.RANKING, "aesthetic_weight": 0.0},
    "both CLIPs and how well it is made (what ranks for people)": {"clip": registry.RANKING},
}


def values_of(entry: Entry, prompts: list[Prompt], seed: int) -> list[Any]:
    """The parameters of every prompt from one seed, or of one picture of its sheet."""
    made = []
    for number, prompt in enumerate(prompts):
        values = {"prompt": prompt.text, "seed": seed * 1000 + number, "save_every": 1000, **entry.settings}
        if entry.sheet:
            values |= {"seed": number * 1000 + seed, **on_sheet(entry.engine, values, seed)}
        else:
            values["style"] = prompt.style
        if entry.of:
            values = varied(entry.engine, values, f"{seed} {number}", SKIP_RATE)
        made.append(validate(entry.engine, values))
    return made


def loaded(entry: Entry, params: Any, kept: Path) -> Any:
    """The engine of an entry, on the CPU. kept: the folder of what was drawn."""
    drawn = np.load(kept / f"{entry.of}.npz")["pictures"] if entry.of else None

    def read_image(reference: str) -> Image.Image:
        if drawn is None:
            raise FileNotFoundError(reference)
        seed, number = map(int, reference.split())
        return Image.fromarray(drawn[seed, number].transpose(1, 2, 0))

    host = Host("cpu", Path("data/checkpoints"), read_image)
    return loading.load(entry.engine, params.checkpoint, params.clip, host)


def draw_all(entry: Entry, prompts: list[Prompt], seeds: int, threads: int, output: Path) -> None:
    """Draw every prompt from every seed and save the pictures (seeds, P, 3, H, W) uint8."""
    torch.set_num_threads(threads)
    seeds = entry.sheet or seeds
    waiting = [params for seed in range(seeds) for params in values_of(entry, prompts, seed)]
    drawn = generate_all(loaded(entry, waiting[0], output.parent), waiting, BATCH)
    done = dict(tqdm(drawn, desc=entry.title, total=len(waiting), unit="picture"))
    made = torch.stack([done[number] for number in range(len(waiting))])
    pictures = (made * 255).round().byte().numpy().reshape(seeds, len(prompts), *made.shape[1:])
    np.savez_compressed(output, pictures=pictures)


def time_one(entry: Entry, prompts: list[Prompt], output: Path) -> None:
    """Draw a few pictures one at a time and save the median of their seconds, and this process's peak memory."""
    torch.set_num_threads(2)
    params = values_of(entry, prompts[:4], 0)
    engine = loaded(entry, params[0], output.parent)
    seconds = []
    for one in params:
        begun = time.monotonic()
        for _ in generate(engine, one):
            pass
        seconds.append(time.monotonic() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    output.write_text(json.dumps({"seconds": round(float(np.median(seconds[1:])), 1), "memory_mb": round(peak)}))


def contact_sheet(pictures: np.ndarray, prompts: list[Prompt], output: Path, side: int = 112, across: int = 10) -> None:
    """Ten rows of ten pictures (P, 3, H, W) uint8 with their prompts and styles under them."""
    line = 30
    down = -(-len(prompts) // across)
    sheet = Image.new("RGB", (across * (side + 8), down * (side + line + 8)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (picture, prompt) in enumerate(zip(pictures, prompts, strict=True)):
        left, top = number % across * (side + 8) + 4, number // across * (side + line + 8) + 4
        image = Image.fromarray(picture.transpose(1, 2, 0)).resize((side, side), Image.Resampling.BICUBIC)
        sheet.paste(image, (left, top))
        text = prompt.text if len(prompt.text) <= 20 else prompt.text[:19] + "…"
        draw.text((left, top + side + 2), f"{text}\n{prompt.style}", fill=(60, 60, 60), font_size=10)
    sheet.quantize(255).save(output, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/training"))
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    parser.add_argument("--kept", type=Path, default=Path("data/evaluation"), help="where pictures drawn are kept")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--prompts", type=int, help="only so many of them, evenly chosen, for a first look")
    parser.add_argument("--threads", type=int, default=2, help="to draw with; timing always takes two")
    parser.add_argument("--only", nargs="*", help=f"engines to draw with: {', '.join(e.name for e in ENTRIES)}")
    parser.add_argument("--untimed", action="store_true", help="do not time, on a busy machine")
    parser.add_argument("--fresh", action="store_true", help="draw and time again what is kept")
    arguments = parser.parse_args()
    pictures = dataset.load(arguments.data)
    prompts = spread(prompts_of(pictures), arguments.prompts)
    arguments.kept.mkdir(parents=True, exist_ok=True)
    (arguments.output / "mini").mkdir(parents=True, exist_ok=True)
    for entry in ENTRIES:
        if arguments.only and entry.name not in arguments.only:
            continue
        drawn, timed = (arguments.kept / f"{entry.name}.{ending}" for ending in ("npz", "json"))
        if arguments.fresh or not drawn.exists():
            apart(draw_all, entry, prompts, arguments.seeds, arguments.threads, drawn)
        if not arguments.untimed and (arguments.fresh or not timed.exists()):
            apart(time_one, entry, prompts, timed)
    write(pictures, prompts, arguments.kept, arguments.output, perception.fetch(arguments.data / "packages"))


def spread(prompts: list[Prompt], count: int | None) -> list[Prompt]:
    """So many of the prompts, evenly chosen; None: all."""
    step = 1 if count is None else len(prompts) / count
    return prompts if step <= 1 else [prompts[int(number * step)] for number in range(count or 0)]


def apart(work: Callable[..., None], *arguments: Any) -> None:
    """Run in a process of its own, so that its memory is its own."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{work.__name__} of {arguments[0].title} stopped with status {process.exitcode}.")


def write(pictures: dataset.Pictures, prompts: list[Prompt], kept: Path, output: Path, lpips: Path) -> None:
    """docs/mini.md and its contact sheets, from what was drawn."""
    judge = load_judge()
    rows = np.array([prompt.row for prompt in prompts if prompt.row is not None])
    with torch.no_grad():
        texts = judge.encode_text([prompt.text for prompt in prompts])
    ruler = Ruler(judge, prompts, texts, on_white(pictures, np.flatnonzero(pictures.train)))
    truth = Ruler(judge, [p for p in prompts if p.row is not None], texts[: len(rows)], ruler.training)
    real = (on_white(pictures, rows) * 255).round().byte().numpy()[None]
    noise = np.random.default_rng(0).integers(0, 256, (1, len(prompts), 3, 64, 64), np.uint8)
    art = truth.measure(real)
    lines = [_line("the held-out art itself", None, art, {}, art["sharpness"])]
    sheets, rankings = [], []
    for entry in ENTRIES:
        path = kept / f"{entry.name}.npz"
        if not path.exists():
            continue
        timed = path.with_suffix(".json")
        figures = json.loads(timed.read_text()) if timed.exists() else {}
        drawn = np.load(path)["pictures"]
        title = entry.title if len(drawn) > 1 else f"{entry.title} (one seed)"
        styles = [SHEET_STYLES[number % len(SHEET_STYLES)] for number in range(entry.sheet)] or None
        lines.append(_line(title, entry.target, ruler.measure(drawn, styles), figures, art["sharpness"]))
        if entry.sheet:
            rankings += _rankings(entry, drawn, ruler)
            contact_sheet(
                drawn.swapaxes(0, 1)[:10].reshape(-1, *drawn.shape[2:]),
                _each(prompts[:10], entry.sheet),
                output / "mini" / f"{entry.name}.png",
                across=entry.sheet,
            )
            sheets.append(f"### {entry.title}\n\n![{entry.title}](mini/{entry.name}.png)\n")
        if entry.target is not None or entry.name.endswith("prior-0"):
            contact_sheet(drawn[0], prompts, output / "mini" / f"{entry.name}.png")
            sheets.append(f"### {entry.title}\n\n![{entry.title}](mini/{entry.name}.png)\n")
    lines.append(_line("noise", None, ruler.measure(noise), {}, art["sharpness"]))
    clips = {"guide": load_mini(), "robust": load_robust(), "judge": judge}
    known = [line for name, clip in clips.items() for line in retrieval(clip, pictures, name)]
    psnr, looks, used, codes = reconstruction(pictures, perception.load(lpips))
    text = f"""# The embedded models, measured

Written by `python scripts/evaluate_mini.py` on {platform.processor() or platform.machine()}, two threads, torch \
{torch.__version__}. Data, licences, recipes and training times: the model cards in
[generator/weights](../generator/weights). What they read, emoji, languages and names of styles: [words.md](words.md).

## Which prompt does a picture show?

{len(prompts)} prompts: {len(rows)} name a concept in a style that training did not show it in, {len(FREE)} are phrases
that are no caption. The judge, a CLIP that guides nothing, picks among all {len(prompts)} prompts the one a picture
shows: *R@1* is how often that is the right one, *R@5* how often the right one is among its first five. *Style*: how
often the judge sees the style that was asked for. *Diversity*: mean cosine distance between two seeds' pictures, or any
two of a sheet. *Islands*: of debris, a picture; small faint specks that lie apart from the figure
(`generator/images/debris.py`). *Sharp*: how steep the steepest 2 % of a picture are, as a share of that in the art.
*Nearest*: median PSNR to the training picture that is nearest pixel by pixel; *copies*: share above 30 dB. Seconds are
of one picture alone, models loaded. *Random z* are amounts of the training pictures' principal components
(`init=components`; of four starts CLIP keeps one after 20 steps); *random codes* are what VQGAN + CLIP started from in
its first notebooks.

The judge names {art["r1"]:.0%} of the held-out art itself, and sees the style of {art["style"]:.0%}: the sets draw \
many things alike. The
engines are pulled towards the style by another network that tells styles apart (`style_weight`; not from random z
or noise), and flattened where its artists draw flat (`finish`), so that a picture may look more like its style than
much of the art.

| | R@1 | (known concepts, new style) | (free phrases) | R@5 | style | diversity | islands | sharp | nearest | copies \
| s | MB |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(lines)}

## Which picture of a sheet is put first?

How often the judge, which ranks nothing, names the prompt of the one picture of six that is put first, and the
islands of debris on it.

| sheet | put first | R@1 | islands |
|---|---|---|---|
{chr(10).join(rankings)}

## Do the CLIPs know what they see?

Held-out pictures, named among 100 labels drawn at random and among all {len(pictures.concepts)}.

| CLIP | pictures | top-1 of 100 | top-5 of 100 | top-1 of all | top-5 of all | style |
|---|---|---|---|---|---|---|
{chr(10).join(known)}

## VQGAN

{psnr:.1f} dB and LPIPS (VGG16) {looks:.3f} on unseen concepts, through encoder, codes and decoder; \
{used} of {codes} codes in use on them.

## Contact sheets

The first seed of every prompt, nothing picked.

{chr(10).join(sheets)}"""
    (output / "mini.md").write_text(text)
    print(text)


def _rankings(entry: Entry, drawn: np.ndarray, ruler: Ruler) -> list[str]:
    """Rows of the table of rankings, for the pictures of a sheet (seeds, P, 3, H, W)."""
    texts, every = [prompt.text for prompt in ruler.prompts], np.arange(len(ruler.prompts))
    chosen = {"the first": drawn[:1], "any": drawn}
    for name, settings in RANKINGS.items():
        chosen[name] = drawn[ranked_first(drawn, texts, **settings), every][None]
    found = {name: ruler.measure(pictures) for name, pictures in chosen.items()}
    return [f"| {entry.title} | {name} | {one['r1']:.0%} | {one['debris']:.2f} |" for name, one in found.items()]


def _each(prompts: list[Prompt], times: int) -> list[Prompt]:
    """Every prompt so many times, in the styles of a sheet."""
    return [replace(one, style=SHEET_STYLES[n % len(SHEET_STYLES)]) for one in prompts for n in range(times)]


def _line(title: str, target: float | None, found: dict[str, float], figures: dict[str, Any], sharp: float) -> str:
    goal = "" if target is None else f" (target {target:.0%})"
    diversity = "" if np.isnan(found["diversity"]) else f"{found['diversity']:.2f}"
    cells = [title, f"{found['r1']:.0%}{goal}"]
    cells += ["" if np.isnan(found[key]) else f"{found[key]:.0%}" for key in ("r1_held_out", "r1_free", "r5", "style")]
    cells += [
        diversity,
        f"{found['debris']:.2f}",
        f"{found['sharpness'] / sharp:.0%}",
        f"{found['nearest_db']:.1f} dB",
        f"{found['copies']:.0%}",
    ]
    cells += [str(figures.get("seconds", "")), str(figures.get("memory_mb", ""))]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
