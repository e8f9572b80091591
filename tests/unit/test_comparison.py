"""Comparisons and variations as settings, before anything is queued; and a sheet as one PNG."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from PIL import Image

from generator.params import BadParams, validate
from generator.params.vary import takes_pictures, varied
from studio import sheets
from studio.compare import Axis, axis, cells, compare, engines_in, permitted, settings_of
from studio.contact_sheet import Cell, contact_sheet, merged_film
from studio.context import Submitter
from studio.grid import Grid
from studio.sheet_page import Words, as_page
from tests.pages.visits import ME, Studio

BASE = {"prompt": "a red heart", "seed": 7, "style": "noto"}


def grid(rows: tuple[str, str], columns: tuple[str, str] | None = None, **base: Any) -> list[Any]:
    return cells("vqgan-clip", BASE | base, axis(*rows), axis(*columns) if columns else None)


def test_a_grid_goes_row_by_row_and_names_every_cell() -> None:
    made = grid(("cutn", "8, 16"), ("learning_rate", ".02,.05"))
    assert [label for label, _, _ in made] == [
        f"cutn {cutn} · learning_rate {rate}" for cutn in (8, 16) for rate in (".02", ".05")
    ]
    params = [params for _, _, params in made]
    assert [(p.cutn, p.learning_rate, p.seed) for p in params] == [
        (8, 0.02, 7),
        (8, 0.05, 7),
        (16, 0.02, 7),
        (16, 0.05, 7),
    ]


def test_every_kind_of_setting_can_be_compared() -> None:
    def chosen(name: str, typed: str) -> list[Any]:
        return [getattr(params, name) for _, _, params in grid((name, typed))]

    assert chosen("clip", "mini, RN50+ViT-B/32") == [("mini",), ("RN50", "ViT-B/32")]
    assert chosen("augment", "true, no") == [True, False]
    assert chosen("upscale", "1, 4") == [1, 4]
    assert chosen("optimiser", "Adam, SGD") == ["Adam", "SGD"]
    assert chosen("style", "noto, any") == ["noto", None]
    assert chosen("checkpoint", "mini, wikiart-f16-1024") == ["mini", "wikiart-f16-1024"]


def test_several_prompts_are_drawn_with_several_seeds_each() -> None:
    made = grid(("prompt", "a red heart; a castle, at night"), ("seed", "1, 2"), prompt="")
    drawn = [(params.prompt, params.seed) for _, _, params in made]
    assert drawn == [(prompt, seed) for prompt in ("a red heart", "a castle, at night") for seed in (1, 2)]
    with pytest.raises(BadParams, match="an empty place between two semicolons"):
        axis("prompt", "a red heart;; a castle")


def test_a_pasted_list_is_an_axis_with_a_value_a_line() -> None:
    assert axis("prompt", "a heart; red\n\n a castle, at night \n").values == ("a heart; red", "a castle, at night")
    assert axis("cutn", "8\n16, 32\n").values == ("8", "16", "32")
    assert axis("seed", "1\r\n2").values == ("1", "2")


def test_a_choice_of_the_prompt_is_an_axis() -> None:
    choice = Axis("{red|blue}", ("red", "blue"))
    made = cells("vqgan-clip", BASE | {"prompt": "a {red|blue} heart"}, choice, axis("cutn", "8, 16"))
    assert [(p.prompt, p.cutn) for _, _, p in made] == [
        (f"a {colour} heart", cutn) for colour in ("red", "blue") for cutn in (8, 16)
    ]
    with pytest.raises(BadParams, match=r"The prompt has no choice \{red\|blue\}"):
        cells("vqgan-clip", BASE, choice, None)


def test_cells_share_a_seed_unless_each_is_to_have_its_own() -> None:
    def seeds(**how: bool) -> list[int]:
        rows, columns = axis("engine", "vqgan-clip, latent-diffusion"), axis("steps", "10, 20")
        return [params.seed for _, _, params in cells("vqgan-clip", BASE, rows, columns, **how)]

    assert seeds() == [7] * 4 and seeds(own_seeds=True) == [7, 8, 9, 10]
    compared = cells("vqgan-clip", BASE, axis("seed", "1, 2"), None, own_seeds=True)
    assert [params.seed for _, _, params in compared] == [1, 2], "they are what is compared"


def test_a_style_falls_away_where_the_checkpoint_has_none() -> None:
    made = grid(("checkpoint", "mini, wikiart-f16-1024, vqgan-f16/mine"))
    assert [params.style for _, _, params in made] == ["noto", None, None]


def test_what_can_be_compared_is_what_some_checkpoint_of_the_engine_reads() -> None:
    offered = settings_of(["latent-diffusion"])
    assert {"variety", "memory", "checkpoint"} <= set(offered), "one of the embedded model, one of Stable Diffusion"
    made = cells("latent-diffusion", BASE, axis("checkpoint", "mini-latent-diffusion, diffusers/mine"), None)
    params = [params for _, _, params in made]
    assert [(p.checkpoint, p.style) for p in params] == [("mini-latent-diffusion", "noto"), ("diffusers/mine", None)]
    made = cells("latent-diffusion", {**BASE, "checkpoint": "stable-diffusion-1-5"}, axis("memory", "full, low"), None)
    assert [params.memory for _, _, params in made] == ["full", "low"]
    with pytest.raises(BadParams, match=r"variety 1: variety means nothing to stable-diffusion-1-5"):
        cells("latent-diffusion", {**BASE, "checkpoint": "stable-diffusion-1-5"}, axis("variety", "1"), None)


def test_over_engines_only_what_each_of_them_permits_is_offered() -> None:
    both = ["vqgan-clip", "latent-diffusion"]
    assert engines_in("biggan-clip", "engine", "vqgan-clip, dall-e, latent-diffusion") == both
    assert engines_in("biggan-clip", "seed", "1, 2") == ["biggan-clip"]
    offered = settings_of(both)
    assert {"steps", "clip", "candidates"} <= set(offered)
    assert not {"cutn", "cfg_scale", "checkpoint"} & set(offered), "no checkpoint is of both"
    assert permitted(both, "candidates") == "1 to 16" and permitted(["biggan-clip"], "candidates") == "1 to 64"
    assert permitted(["vqgan-clip", "biggan-clip"], "init") == "random"
    values = {"steps": "10", "candidates": "1", "upscale": "1", "clip": "mini", "save_every": "2"}
    for name in offered[3:]:
        if name in values:
            assert len(cells("vqgan-clip", BASE, axis("engine", ", ".join(both)), axis(name, values[name]))) == 2


@pytest.mark.parametrize(
    ("rows", "columns", "base", "sentence"),
    [
        (("cutn", "8"), None, {"prompt": ""}, "The prompt is empty"),
        (("cutn", " "), None, {}, "Give the values of cutn"),
        (("cutn", "8,,9"), None, {}, "an empty place between two commas"),
        (("cutn", "8, 8"), None, {}, "The value 8 of cutn is there twice"),
        (("cutn", "8, many"), ("seed", "1"), {}, "cutn many · seed 1: cutn = 'many'"),
        (("cutn", "8, 9999"), None, {}, "cutn = '9999': input should be less than or equal to 512"),
        (("engine", "vqgan-clip, dall-e"), None, {}, "Unknown engine 'dall-e'"),
        (("engine", "vqgan-clip, rank"), None, {}, "Unknown engine 'rank'"),
        (("engine", "vqgan-clip, latent-diffusion"), ("cutn", "8"), {}, "Unknown setting 'cutn'"),
        (("seed", "1"), ("seed", "2"), {}, "Rows and columns are both seed"),
        (("cutn", ",".join(map(str, range(1, 50)))), None, {}, "makes 49 pictures; at most 48"),
    ],
)
def test_a_bad_comparison_is_one_sentence(rows: Any, columns: Any, base: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as refused:
        grid(rows, columns, **base)
    assert isinstance(refused.value, BadParams) and sentence in str(refused.value)


@pytest.mark.parametrize(
    ("engine", "settings"),
    [
        ("vqgan-clip", {"init": "image", "init_strength": 0.925, "init_weight": 1.0}),
        ("latent-diffusion", {"strength": 0.5}),
        ("guided-diffusion", {"init": "image", "skip_steps": 20}),
    ],
)
def test_an_engine_starts_from_the_picture(engine: str, settings: dict[str, Any]) -> None:
    assert engine in takes_pictures()
    params = validate(engine, varied(engine, BASE, "a.png", 0.5)).model_dump()
    assert settings.items() <= params.items() and params["init_image"] == "a.png"


@pytest.mark.parametrize("engine", takes_pictures())
def test_every_skip_rate_leaves_something_to_do_and_a_greater_one_less(engine: str) -> None:
    steps = [validate(engine, varied(engine, BASE, "a.png", rate)).total_steps for rate in (0.0, 0.5, 1.0)]
    assert steps == sorted(steps, reverse=True) and steps[-1] >= 1


def test_a_variation_of_a_picture_from_noise_is_pulled_towards_its_style_as_any_picture_is() -> None:
    drawn = validate("guided-diffusion", {"prompt": "a heart", "init": "noise"}).model_dump()
    again = validate("guided-diffusion", varied("guided-diffusion", drawn, "a.png", 0.5))
    assert again.style_weight == validate("guided-diffusion", {"prompt": "a heart"}).style_weight > 0


def test_what_cannot_be_varied_is_said() -> None:
    with pytest.raises(BadParams, match=r"biggan-clip cannot start from a picture. Choose one of: vqgan-clip"):
        varied("biggan-clip", BASE, "a.png", 0.5)
    with pytest.raises(BadParams, match=r"skip_rate = 1.5: 0 to 1 is allowed"):
        varied("vqgan-clip", BASE, "a.png", 1.5)


def test_a_sheet_is_one_png_with_every_picture_and_place() -> None:
    red = io.BytesIO()
    Image.new("RGB", (32, 16), "red").save(red, "PNG")
    made = [Cell(f"seed {n}", "score 0.4 · 3 s", red.getvalue() if n else None) for n in range(5)]
    with Image.open(io.BytesIO(contact_sheet("a red heart " * 40, made, 3))) as page:
        assert page.format == "PNG" and page.width == 16 + 3 * (256 + 16)
        colours = {page.getpixel((16 + 272 * n + 128, 54 + 128)) for n in range(3)}
        below = page.getpixel((16 + 272 + 128, 54 + 256 + 44 + 16 + 128))
    assert colours == {(236, 236, 236), (255, 0, 0)} and below == (255, 0, 0)


GRID = Grid("steps", ("10", "20"), "prompt", ("a red heart", "a <b>blue</b> car " * 20))


def test_a_comparison_as_png_has_each_label_once_and_its_pictures_in_their_places() -> None:
    red = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(red, "PNG")
    made = [None, Cell("", "score 0.4", red.getvalue(), best=True), Cell("", "Waiting", None), None]
    many = Grid("seed", ("1",), "cutn", tuple(map(str, range(48))))
    with Image.open(io.BytesIO(contact_sheet("hearts", made, 2, GRID))) as page:
        pixels = page.convert("RGB")
        reds = [(x, y) for x in range(page.width) for y in range(page.height) if pixels.getpixel((x, y)) == (255, 0, 0)]
    assert len(reds) == 256 * 256 and min(reds)[0] > page.width / 2, "in the second column"
    assert max(y for _, y in reds) < page.height / 2 + 60, "in the first row"
    with Image.open(io.BytesIO(contact_sheet("hearts", [None] * 48, 48, many))) as page:
        assert page.width > 48 * 112 and page.height < 300, "all columns side by side"


def test_a_sheet_as_html_needs_nothing_else_and_shows_text_as_text() -> None:
    red = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(red, "PNG")
    made = [Cell('"x" <i>', "score 0.4", red.getvalue(), best=True), None, Cell("", "<Waiting>", None), None]
    page = as_page("<script>", made, GRID, Words("6 done", "Times", "eu")).decode()
    assert page.count("data:image/webp;base64,") == 1 and "http" not in page and "<script" not in page
    assert page.count("<th") == 6 and page.count('scope="col"') == 2 and page.count('scope="row"') == 2
    assert '<html lang="eu">' in page and "&lt;b&gt;blue" in page and "&lt;Waiting&gt;" in page
    assert '<figure class="best">' in page and page.count("steps") == 1, "labels stand once"
    without = as_page("hearts", made, None, Words()).decode()
    assert "<table" not in without and "<b>&quot;x&quot; &lt;i&gt;</b>" in without


def test_a_table_holds_no_formula_that_a_spreadsheet_would_compute(visits: Studio) -> None:
    studio, anna = visits.opened(), Submitter(ME)
    rows = Axis("prompt", ("=cmd()", "a heart, red"))
    sheet = compare(studio, anna, "vqgan-clip", {}, rows, axis("cut_pow", "0.5, 1"))
    table = sheets.as_csv(studio, anna, sheet.id, lambda job_id: f"https://example.org/{job_id}").decode("utf-8-sig")
    lines = list(csv.DictReader(io.StringIO(table)))
    values = [(line["row_value"], line["column_value"]) for line in lines]
    assert values == [(text, power) for text in ("'=cmd()", "a heart, red") for power in ("0.5", "1")]
    assert all(line["address"] == f"https://example.org/{line['job_id']}" for line in lines)


def film(colours: list[str]) -> bytes:
    out = io.BytesIO()
    first, *others = [Image.new("RGB", (32, 32), colour) for colour in colours]
    first.save(out, "GIF", save_all=True, append_images=others, duration=100)
    return out.getvalue()


def test_the_films_of_a_sheet_run_side_by_side_and_end_together() -> None:
    short, long = film(["red", "blue"]), film(["black", "red", "lime", "yellow", "blue"])
    made = [Cell(f"seed {n}", "score 0.4", gif) for n, gif in enumerate((short, long))]
    seen = []
    with Image.open(io.BytesIO(merged_film("a red heart", made, 2))) as merged:
        assert merged.format == "GIF" and merged.info["loop"] == 0
        for number in range(merged.n_frames):
            merged.seek(number)
            page = merged.convert("RGB")
            seen.append([page.getpixel((16 + 272 * column + 128, 54 + 128)) for column in range(2)])
    red, blue = (255, 0, 0), (0, 0, 255)
    assert [left for left, _ in seen] == [red, red, red, blue, blue]
    assert [right for _, right in seen] == [(0, 0, 0), red, (0, 255, 0), (255, 255, 0), blue]


def test_a_merged_film_of_many_long_films_stays_small_enough_to_send() -> None:
    long = film(["black", "red", "lime", "yellow", "blue"] * 16)
    made = [Cell(f"seed {n}", "", long) for n in range(10)]
    with Image.open(io.BytesIO(merged_film("a red heart", made, 4))) as merged:
        assert merged.n_frames <= 60 and merged.width == 16 + 4 * (128 + 16)
