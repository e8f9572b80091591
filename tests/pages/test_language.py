"""The pages in the visitor's language: by the address, by a tap, and nothing typed is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from db import queue
from db.queue import workers
from db.rules import host_rules, keys
from generator import registry
from pages.host import SECTIONS
from pages.shared.navigation import COMPARE, GENERATION, INFERENCES, LEADERBOARD, QUEUE, REFINE, VOTES, WALL
from pages.shared.studio import the_studio
from studio import datasets, moderation
from studio import host as hosting
from studio.context import Submitter
from tests.captioned_files import write_zip
from tests.pages.conftest import OpenPage
from tests.pages.test_host import hosted, sign_in
from tests.pages.visits import EXECUTOR, ME, SOMEBODY, Studio, everything_shown, words_shown, write

__all__ = ["hosted"]  # the fixture
# How texts begin that are the same in every language: prompts, names, titles of models, files.
NAMES = ("a red heart", "a blue car", "a green tree", "a ship", "a rocket", "a secret", "a bot", "discs")
NAMES += ("VQGAN", "CLIP-guided diffusion", "Latent diffusion", "Mini (embedded", "evening-", "/")
NAMES += ("Small",)  # engines that other tests serve
NAMES += ("What the form keeps",)  # a field that nobody is shown


def test_an_address_with_a_language_shows_it_on_every_page(studio: Studio, open_page: OpenPage) -> None:
    app = open_page(QUEUE, lang="eu")
    assert app.title[0].value == "Ilara"
    assert "Ilara hutsik dago" in everything_shown(app)
    app.switch_page(VOTES).run()
    assert app.title[0].value == "Bozkatu irudiak"
    assert app.query_params["lang"] in ("eu", ["eu"])


def test_an_unknown_language_is_english(studio: Studio, open_page: OpenPage) -> None:
    app = open_page(QUEUE, lang="tlh")
    assert app.title[0].value == "Queue"
    app = open_page(QUEUE, lang="../../etc/passwd")
    assert app.title[0].value == "Queue"


def test_two_visitors_have_a_language_each(studio: Studio, open_page: OpenPage) -> None:
    spanish = open_page(QUEUE, lang="es")
    english = open_page(QUEUE, visitor=SOMEBODY)
    assert spanish.run().title[0].value == "Cola"
    assert english.run().title[0].value == "Queue"


def test_changing_the_language_keeps_what_was_typed(studio: Studio, open_page: OpenPage) -> None:
    app = open_page()
    app.text_area(key="set_prompt").input("a blue car")
    style = next(group for group in app.button_group if group.key == "set_style")
    style.set_value("twemoji").run()
    _number(app, "Steps").set_value(7).run()
    app.toggle(key="set_vqgan-clip_mini_augment").set_value(False).run()
    app.selectbox(key="set_vqgan-clip_mini_optimiser").set_value("SGD").run()
    _choice(app).set_value("eu").run()
    assert not app.exception
    assert app.title[0].value == "Testutik irudira"
    assert app.text_area(key="set_prompt").label == "Deskribapena"
    assert app.text_area(key="set_prompt").value == "a blue car"
    assert next(group for group in app.button_group if group.key == "set_style").value == "twemoji"
    assert _number(app, "Urratsak").value == 7
    assert app.toggle(key="set_vqgan-clip_mini_augment").label == "Ebakinak eraldatu"
    assert app.toggle(key="set_vqgan-clip_mini_augment").value is False
    assert app.selectbox(key="set_vqgan-clip_mini_optimiser").value == "SGD"
    assert "Sortu" in [button.label for button in app.button]
    app.button(key="example_a red heart").click().run()  # prompts are what visitors type: they are not translated
    assert app.text_area(key="set_prompt").value == "a red heart"
    _choice(app).set_value("en").run()
    assert app.title[0].value == "Text-to-Image Generation"
    assert app.query_params["lang"] in ("en", ["en"])


def test_a_filter_means_the_same_in_every_language(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    studio.draw("a red heart")
    studio.enqueue("a blue car")
    app = open_page(INFERENCES)
    app.selectbox(key="gallery_status").set_value("live").run()
    _choice(app).set_value("es").run()
    assert app.selectbox(key="gallery_status").value == "live"
    shown = everything_shown(app)
    assert "a blue car" in shown and "a red heart" not in shown


def test_a_refinement_is_begun_with_what_was_chosen_before_the_language(studio: Studio, open_page: OpenPage) -> None:
    app = open_page(REFINE)
    style = next(box for box in app.selectbox if (box.key or "").startswith("refine_style"))
    style.set_value("any").run()
    app.text_area(key="set_prompt").input("a rocket").run()
    _choice(app).set_value("eu").run()
    assert app.title[0].value == "Findu"
    assert app.text_area(key="set_prompt").value == "a rocket"


def test_what_the_studio_refuses_is_said_in_the_visitors_language(studio: Studio, open_page: OpenPage) -> None:
    app = open_page(COMPARE, lang="eu")
    app.text_area(key="compare_prompt").set_value("a red heart")
    app.text_area(key="compare_columns_values_seed").set_value("1,,2").run()
    next(button for button in app.button if button.label == "Konparatu").click().run()
    said = app.error[0].value.replace("\\", "").replace("\u2060", "")
    assert said == "seed ezarpenaren balioetan hutsune bat dago; begiratu komak: 1,,2"


def test_the_tips_of_the_settings_are_read_in_the_visitors_language(studio: Studio, open_page: OpenPage) -> None:
    english, spanish = open_page(GENERATION, lang="en"), open_page(GENERATION, lang="es")
    biggan = "biggan-clip"
    assert biggan in registry.drawing_engines()
    for engine in [engine for engine in registry.drawing_engines() if engine != biggan] + [biggan]:
        told = []
        for app in (english, spanish):
            app.selectbox(key="set_engine").set_value(engine).run()
            assert not app.exception, engine
            told.append(_tips(app))
        assert told[0].keys() == told[1].keys() and len(told[0]) > 15, engine
        assert [key for key, tip in told[0].items() if tip == told[1][key]] == [], engine
    tip = told[1]["set_biggan-clip_mini-biggan_cutn"]
    assert tip == "Recortes que CLIP ve en cada paso. `cutn`", "with the name that an error would call it by"
    assert told[0]["set_biggan-clip_mini-biggan_cutn"] == "Cutouts CLIP sees per step."
    assert "Recortes por paso" in [box.label for box in spanish.number_input]
    assert "**Optimización**" in everything_shown(spanish)


def test_what_the_queue_refuses_is_said_in_the_visitors_language(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    studio.took(3.0, steps=40)
    host_rules.change(studio.db, max_job_s=300)
    for code, said in (
        (
            "es",
            "Esto tardaría aquí unos 1 h 40 min, y el anfitrión permite 5 min por trabajo; pide 100 pasos o menos en "
            "vez de 2.000, o un tamaño menor.",
        ),
        (
            "eu",
            "Honek 1 h 40 min inguru beharko luke hemen, eta anfitrioiak 5 min onartzen du lan bakoitzeko; eskatu 100 "
            "urrats edo gutxiago, 2.000 beharrean, edo tamaina txikiagoa.",
        ),
    ):
        app = write(open_page(GENERATION, lang=code), "a red heart")
        app.number_input(key="set_vqgan-clip_mini_steps").set_value(2000).run()
        shown = everything_shown(app)
        assert said in shown.replace("\\", "").replace("\u2060", "") and "would take" not in shown
    host_rules.change(studio.db, max_job_s=0, max_per_hour=1)
    studio.enqueue("a blue car")
    app = write(open_page(GENERATION, lang="es"), "a red heart")
    next(button for button in app.button if button.label == "Generar").click().run()
    assert "Has pedido 1 trabajo en la última hora, y un visitante puede pedir 1" in everything_shown(app)


def test_every_page_opens_in_basque(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    first = studio.draw("a red heart")
    studio.draw("a red heart", SOMEBODY)
    studio.enqueue("a blue car")
    studio.run()
    studio.enqueue("waiting {braces} & <b>tags</b>")
    app = open_page(INFERENCES, lang="eu", job=first.id)
    shown = everything_shown(app)
    assert "Puntuazioa: 0,42" in shown and "Score" not in shown
    del app.query_params["job"]
    for path, said in (
        (GENERATION, "Urratsa: 10/"),
        (VOTES, "Zein irudik erakusten du hobeto hau?"),
        (QUEUE, "Abian (1)"),
        (WALL, "osatzen"),
        (LEADERBOARD, "Oraindik ez dago botorik"),
        (COMPARE, "Konparatu"),
    ):
        app.switch_page(path).run()
        assert not app.exception and not app.error, path
        assert said in everything_shown(app), path


def test_the_host_reads_every_section_in_their_language(hosted: Studio, open_page: OpenPage, tmp_path: Path) -> None:
    _an_evening(hosted, tmp_path)
    english = sign_in(open_page)
    others = [sign_in(open_page, lang=code) for code in ("es", "eu")]
    for section in SECTIONS:
        shown = []
        for app in (english, *others):
            app.segmented_control(key="host_section").set_value(section).run()
            assert not app.exception and not app.error, section
            shown.append({text for text in words_shown(app) if not text.startswith(NAMES)})
        assert len(shown[0]) > 10, section
        assert [sorted(shown[0] & words) for words in shown[1:]] == [[], []], section


def test_the_host_is_refused_in_their_language(hosted: Studio, open_page: OpenPage) -> None:
    hosted.enqueue("a red heart", SOMEBODY)
    app = sign_in(open_page, password="guess", lang="eu")
    assert "Hori ez da pasahitza" in everything_shown(app)
    app = sign_in(open_page, "Visitors", lang="es")
    app.button(key="bulk_ban").click().run()
    assert "No has elegido a nadie" in everything_shown(app)
    app.segmented_control(key="host_section").set_value("Data").run()
    app.text_input(key="host_forget_typed").input("DELETE")
    next(button for button in app.button if button.label == "Borrar los datos del evento").click().run()
    assert "ponla en pausa" in everything_shown(app) and queue.counts(hosted.db)["queued"] == 1


def test_what_an_executor_does_is_said_in_the_visitors_language(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    for status, said in (
        ("idle", "libre"),
        ("loading vqgan-clip mini", "cargando vqgan-clip mini"),
        (
            "2 of 3 places taken; 1 finished, waiting for the store; The studio has no space left for pictures.",
            "plazas ocupadas: 2 de 3; terminados que esperan al almacén: 1; "
            "Al estudio no le queda espacio para imágenes.",
        ),
        ("what a newer version says", "what a newer version says"),
    ):
        workers.beat(studio.db, EXECUTOR, status)
        assert f">{said} · 2 plazas" in everything_shown(open_page(QUEUE, lang="es"))
        assert f">{status} · 2 places" in everything_shown(open_page(QUEUE, lang="en"))


def test_the_host_goes_on_where_they_were_in_another_language(hosted: Studio, open_page: OpenPage) -> None:
    hosted.enqueue("a red heart", SOMEBODY)
    app = sign_in(open_page, "Visitors")
    app.selectbox(key="ban_for").set_value("1 hour").run()
    _choice(app).set_value("eu").run()
    assert not app.exception and app.segmented_control(key="host_section").value == "Visitors"
    assert (app.selectbox(key="ban_for").label, app.selectbox(key="ban_for").value) == ("Helbideen blokeoa", "1 hour")
    app = sign_in(open_page, "Rules")
    app.multiselect[0].unselect("biggan-clip").run()
    _choice(app).set_value("es").run()
    assert app.segmented_control(key="host_section").value == "Rules"
    next(button for button in app.button if button.label == "Guardar los motores").click().run()
    assert not app.exception and host_rules.get(hosted.db).withheld == ("biggan-clip",)


def _an_evening(hosted: Studio, folder: Path) -> None:
    """What all of the host's sections have something to tell about."""
    hosted.start_executor()
    host, rules = Submitter("host", is_host=True), hosted.db
    keys.make(rules, "a bot", max_queued=5, max_per_hour=9)
    host_rules.change(rules, wall_approval=True, keep_days=7)
    file = write_zip(folder / "discs.zip", 12)
    datasets.add_zip(hosted.opened(train=True), Submitter(SOMEBODY), file, name="discs", licence="CC0")
    for prompt in ("a red heart", "a blue car"):
        hosted.draw(prompt, SOMEBODY)
    for kind in ("executor_lost", "out_of_memory"):
        hosted.enqueue("a green tree", SOMEBODY)
        queue.fail(rules, worker_id=EXECUTOR, job_id=hosted.run().id, kind=kind, message="Why?")
    hidden = hosted.draw("a secret", ME)
    moderation.act(hosted.opened(), host, moderation.Bulk(visitors=[ME], hide=True, ban=True, ban_s=3600.0))
    assert queue.get(rules, hidden.id).hidden
    hosted.enqueue("a ship", SOMEBODY)
    hosted.run()
    for _ in range(2):
        hosted.enqueue("a rocket", SOMEBODY)
    hosting.export(the_studio(), host, "Pictures", None)


def _tips(app: AppTest) -> dict[str, str]:
    """What each setting's tip says, by the key of its widget."""
    kinds = ("number_input", "selectbox", "multiselect", "text_input", "text_area", "toggle")
    widgets: list[Any] = [one for kind in kinds for one in app.get(kind)]
    return {str(one.key): one.help for one in widgets if one.help}


def _choice(app: object) -> object:
    return next(group for group in app.button_group if group.key == "language_choice")  # type: ignore[attr-defined]


def _number(app: object, label: str) -> object:
    return next(box for box in app.number_input if box.label == label)  # type: ignore[attr-defined]
