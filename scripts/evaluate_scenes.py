"""Score how the embedded models draw scenes; write docs/scenes.md: `python scripts/evaluate_scenes.py`.

Needs the training data (`python -m generator.training.data`), for what the judge sees in the art itself. Engines draw
the first 60 compositions of generator/training/held_out_scenes.txt, two things in a relation each, from two seeds: once
as one thing, as a prompt was drawn before, and once thing by thing. What was drawn is kept in data/scenes, so that a
run that was stopped goes on; --fresh draws again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from generator.device import Host  # noqa: E402
from generator.engines import loading  # noqa: E402
from generator.engines.base import generate_all  # noqa: E402
from generator.images.convert import no_picture  # noqa: E402
from generator.models.clip import load_judge  # noqa: E402
from generator.params import validate  # noqa: E402
from generator.training import dataset  # noqa: E402
from generator.training.scene_scores import COUNT, FIRST, STYLES, SceneJudge, Seen, figures  # noqa: E402
from generator.training.scene_scores import told as scenes_told  # noqa: E402
from generator.training.scenes import Art, picture  # noqa: E402
from generator.wording.scenes import Scene  # noqa: E402

BATCH = 4


@dataclass(frozen=True)
class Entry:
    """One line of the table. composed: whether the things of a scene are drawn one by one."""

    name: str
    title: str
    engine: str
    composed: bool
    settings: dict[str, Any]


ENTRIES = tuple(
    Entry(f"{name}-{'scene' if composed else 'one'}", title, engine, composed, settings)
    for name, title, engine, settings in (
        ("draft", "the draft alone", "vqgan-clip", {"steps": 0}),
        ("vqgan", "VQGAN + CLIP", "vqgan-clip", {}),
        ("latent", "Latent diffusion", "latent-diffusion", {}),
        ("guided", "CLIP-guided diffusion", "guided-diffusion", {}),
    )
    for composed in (False, True)
)


def second_family(checkpoint: str | None) -> tuple[Entry, ...]:
    """The line of a flow, which draws a scene from its caption in one go."""
    if checkpoint is None:
        return ()
    title = f"Second family, {checkpoint}"
    return (Entry(checkpoint.replace("/", "-"), title, "latent-diffusion", False, {"checkpoint": checkpoint}),)


def draw(entry: Entry, captions: list[str], seed: int, folder: Path) -> None:
    """Draw every caption from one seed, and keep each picture as it is done."""
    params = [
        validate(
            entry.engine,
            {
                "prompt": caption,
                "seed": seed * 1000 + number,
                "style": STYLES[number % len(STYLES)],
                "save_every": 1000,
                **entry.settings,
            },
        )
        for number, caption in enumerate(captions)
    ]
    left = [number for number in range(len(captions)) if not (folder / f"{seed}-{number}.png").exists()]
    if not left:
        return
    folder.mkdir(parents=True, exist_ok=True)
    host = Host("cpu", Path("data/checkpoints"), no_picture)
    engine: Any = loading.load(entry.engine, params[0].checkpoint, params[0].clip, host)
    if not entry.composed:
        inner = engine.engine
        getattr(inner, "drafts", inner).composer = None
    for at, made in tqdm(generate_all(engine, [params[n] for n in left], BATCH), desc=entry.name, total=len(left)):
        array = (made * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(array).save(folder / f"{seed}-{left[at]}.png")


def kept(file: Path) -> torch.Tensor:
    """A picture that was drawn, (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255


def line(title: str, seen: Iterable[Seen]) -> str:
    """A row of the table."""
    found = figures(list(seen))
    shares = [f"{found[name]:.0%}" if name in found else "" for name in ("each", "both", "relation", "colours")]
    return f"| {' | '.join([title, *shares])} | {found['pictures']:.0f} |"


def sheet(rows: list[list[torch.Tensor]], captions: list[str], output: Path, side: int = 96) -> None:
    """Pairs of pictures of one caption, as one thing and thing by thing, six captions across."""
    across, text = 6, 16
    down = -(-len(captions) // across)
    page = Image.new("RGB", (across * (2 * side + 14), down * (side + text + 6)), "white")
    pen = ImageDraw.Draw(page)
    for number, caption in enumerate(captions):
        left, top = number % across * (2 * side + 14) + 4, number // across * (side + text + 6) + 3
        for column, pictures in enumerate(rows):
            image = Image.fromarray((pictures[number] * 255).round().byte().permute(1, 2, 0).numpy())
            page.paste(image.resize((side, side), Image.Resampling.BICUBIC), (left + column * (side + 2), top))
        pen.text((left, top + side + 1), caption[:38], fill=(60, 60, 60), font_size=10)
    page.quantize(255).save(output, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/training"))
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    parser.add_argument("--kept", type=Path, default=Path("data/scenes"), help="where pictures drawn are kept")
    parser.add_argument("--count", type=int, default=COUNT, help="compositions: so many of the first of the list")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", help=f"lines to draw: {', '.join(entry.name for entry in ENTRIES)}")
    parser.add_argument("--flow", help="a checkpoint of the second family that is drawn as well: flow/NAME")
    parser.add_argument("--fresh", action="store_true", help="draw again what is kept")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    told = scenes_told(arguments.count)
    captions = [caption for caption, _ in told]
    for entry in (*ENTRIES, *second_family(arguments.flow)):
        if arguments.only is not None and entry.name not in arguments.only:
            continue
        folder = arguments.kept / entry.name
        if arguments.fresh:
            for file in folder.glob("*.png"):
                file.unlink()
        for seed in range(arguments.seeds):
            draw(entry, captions, seed, folder)
    write(told, arguments)


def write(told: list[tuple[str, Scene]], arguments: argparse.Namespace) -> None:
    """docs/scenes.md and its sheets, from what is kept."""
    judge, art = SceneJudge(load_judge()), Art.of(dataset.load(arguments.data))
    captions = [caption for caption, _ in told]
    real = []
    for number, (_, scene) in enumerate(told):
        order = [STYLES[(number + turn) % len(STYLES)] for turn in range(len(STYLES))]
        made = (picture(scene, art, style, 64, number) for style in order)
        found = next((one for one in made if one is not None), None)
        if found is not None:
            real.append(judge.look(scene, found))
    lines, sheets = [line("the art itself, composed", real)], []
    for pair in zip(ENTRIES[::2], ENTRIES[1::2], strict=True):
        # What was drawn in both ways, so that a run that was stopped compares like with like.
        folders = [arguments.kept / entry.name for entry in pair]
        both = [
            (seed, number)
            for seed in range(arguments.seeds)
            for number in range(len(told))
            if all((folder / f"{seed}-{number}.png").exists() for folder in folders)
        ]
        if not both:
            continue
        shown = [number for seed, number in both if seed == both[0][0]]
        columns = []
        for entry, folder in zip(pair, folders, strict=True):
            drawn = {(seed, number): kept(folder / f"{seed}-{number}.png") for seed, number in both}
            seen = [judge.look(told[number][1], one) for (_, number), one in drawn.items()]
            lines.append(line(f"{entry.title}, {'thing by thing' if entry.composed else 'as one thing'}", seen))
            columns.append([drawn[both[0][0], number] for number in shown])
        (arguments.output / "mini").mkdir(parents=True, exist_ok=True)
        name = pair[0].name.removesuffix("-one")
        sheet(columns, [captions[number] for number in shown], arguments.output / "mini" / f"scenes-{name}.png")
        sheets.append(f"### {pair[0].title}\n\n![{pair[0].title}](mini/scenes-{name}.png)\n")
    for entry in second_family(arguments.flow):
        files = [arguments.kept / entry.name / f"{s}-{n}.png" for s in range(arguments.seeds) for n in range(len(told))]
        seen = [judge.look(told[int(file.stem.split("-")[1])][1], kept(file)) for file in files if file.exists()]
        lines.append(line(f"{entry.title}, in one go", seen))
    flow = f" --flow {arguments.flow}" if arguments.flow else ""
    text = f"""# Scenes, measured

Written by `python scripts/evaluate_scenes.py --count {arguments.count} --seeds {arguments.seeds}{flow}`. How scenes are
told in a prompt, and how they are drawn: [words.md](words.md#scenes).

Compositions of two things in a relation, the first of those that training never shows as such
([held_out_scenes.txt](../generator/training/held_out_scenes.txt)), in four styles; of one engine the same ones in both
ways, as many as the last column says. The judge, a CLIP that guides nothing, looks at the picture and at 50 crops of
it, and names what it sees among {len(judge.nouns)} things. *Each* and *both*: how often a thing, and both of them, are
among its first {FIRST} by the crop that shows them best. *Relation*: how often both are, and stand as was asked, by the
middles of their crops. *Colours*: of the compositions in which a thing has a colour, how often that thing is seen, and
more of its colour around it than around the other. The first line is what the judge sees where the things' own art is
composed in the same way: as far as a drawing gets.

| | each | both | relation | colours | pictures |
|---|---|---|---|---|---|
{chr(10).join(lines)}

## Sheets

The first seed of every composition, nothing picked: on the left as one thing, on the right thing by thing.

{chr(10).join(sheets)}"""
    (arguments.output / "scenes.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
