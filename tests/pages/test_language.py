"""The pages in the visitor's language: by the address, by a tap, and nothing typed is lost."""

from __future__ import annotations

from pages.shared.navigation import COMPARE, GENERATION, INFERENCES, LEADERBOARD, QUEUE, REFINE, VOTES, WALL
from tests.pages.conftest import OpenPage
from tests.pages.visits import SOMEBODY, Studio, everything_shown


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
    _choice(app).set_value("eu").run()
    assert not app.exception
    assert app.title[0].value == "Testutik irudira"
    assert app.text_area(key="set_prompt").label == "Deskribapena"
    assert app.text_area(key="set_prompt").value == "a blue car"
    assert next(group for group in app.button_group if group.key == "set_style").value == "twemoji"
    assert _number(app, "Urratsak").value == 7
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


def _choice(app: object) -> object:
    return next(group for group in app.button_group if group.key == "language_choice")  # type: ignore[attr-defined]


def _number(app: object, label: str) -> object:
    return next(box for box in app.number_input if box.label == label)  # type: ignore[attr-defined]
