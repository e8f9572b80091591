"""Who is on the wall's stage: what forms, the film of what is finished, a slow show where nobody is there."""

from __future__ import annotations

from pages.projection.direction import CALM_S, FILM_S, MAX_PREMIERES, REST_S, SLIDE_S, TURN_S, Scene, Stage, direct


def shown(stage: Stage) -> tuple[str, str | None]:
    return stage.kind, stage.job_id


def test_a_fresh_wall_is_empty_then_shows_the_first_picture_form_and_finish_and_rest() -> None:
    stage = direct(None, Scene(), 0)
    assert shown(stage) == ("empty", None)
    stage = direct(stage, Scene(forming=["a"]), 2)
    assert shown(stage) == ("forming", "a")
    stage = direct(stage, Scene(forming=["a"]), 2 + 10 * TURN_S)
    assert shown(stage) == ("forming", "a"), "for as long as it takes, where nothing else forms"
    done = Scene(finished=["a"], show=["a"])
    stage = direct(stage, done, 300)
    assert shown(stage) == ("finished", "a")
    stage = direct(stage, done, 300 + FILM_S + CALM_S - 1)
    assert shown(stage) == ("finished", "a"), "it rests there"
    assert shown(direct(stage, done, 300 + FILM_S + CALM_S + 1)) == ("calm", "a")


def test_of_several_that_form_each_is_on_the_stage_for_a_while() -> None:
    stage, seen = None, []
    for turn in range(4):
        stage = direct(stage, Scene(forming=["a", "b", "c"]), turn * TURN_S)
        seen.append(stage.job_id)
        stage = direct(stage, Scene(forming=["a", "b", "c"]), turn * TURN_S + TURN_S / 2)
        seen.append(stage.job_id)
    assert seen == ["a", "a", "b", "b", "c", "c", "a", "a"]


def test_the_finished_picture_rests_until_the_next_begins_and_never_cuts_its_film() -> None:
    stage = direct(direct(None, Scene(forming=["a"]), 0), Scene(finished=["a"], forming=["b"]), 5)
    assert shown(stage) == ("finished", "a")
    busy = Scene(finished=["a"], forming=["b"])
    assert shown(direct(stage, busy, 5 + FILM_S)) == ("finished", "a")
    assert shown(direct(stage, busy, 5 + FILM_S + REST_S)) == ("forming", "b")


def test_films_of_what_finished_beside_the_stage_are_shown_in_their_order_and_not_without_end() -> None:
    stage = direct(None, Scene(forming=["a", "x"]), 0)
    stage = direct(stage, Scene(forming=["a"], finished=["x"]), 1)
    stage = direct(stage, Scene(forming=["a"], finished=["y", "x"]), 2)
    assert shown(stage) == ("forming", "a")
    seen, now = [], 2.0
    for _ in range(3):
        now += TURN_S + FILM_S + REST_S
        stage = direct(stage, Scene(forming=["a"], finished=["y", "x"]), now)
        seen.append(shown(stage))
    assert seen == [("finished", "x"), ("finished", "y"), ("forming", "a")]
    many = [f"p{n}" for n in range(9)]
    stage = direct(stage, Scene(forming=["a"], finished=[*many, "y", "x"]), now + 1)
    assert len(stage.premieres) == MAX_PREMIERES and stage.premieres[-1] == "p0", "the newest of them"


def test_a_sheets_picture_that_forms_on_the_stage_has_its_film_also_where_another_hangs_for_the_sheet() -> None:
    stage = direct(None, Scene(forming=["b"], finished=["a"]), 0)
    stage = direct(stage, Scene(finished=["a"], ended=["b"]), 1)
    assert shown(stage) == ("finished", "b")


def test_what_is_taken_out_leaves_the_stage_at_once() -> None:
    stage = direct(None, Scene(forming=["a"], finished=["c"]), 0)
    stage = direct(stage, Scene(finished=["a", "c"], show=["a", "c"]), 1)
    assert shown(direct(stage, Scene(finished=["c"], show=["c"]), 2)) == ("calm", "c")
    stage = direct(None, Scene(forming=["a", "b"]), 0)
    assert shown(direct(stage, Scene(forming=["b"]), 1)) == ("forming", "b"), "it failed, or was hidden"
    calm = direct(None, Scene(finished=["a"], show=["a", "b"]), 0)
    assert shown(direct(calm, Scene(show=["b"]), 1)) == ("calm", "b")


def test_what_moves_up_on_a_list_that_is_cut_is_not_new_and_what_is_approved_late_is() -> None:
    cut = direct(None, Scene(finished=["c", "b"], whole=False), 0)
    cut = direct(cut, Scene(finished=["c", "a"], whole=False), 1)
    assert not cut.premieres, "b was hidden, so a came into sight"
    whole = direct(None, Scene(finished=["c"], show=["c"]), 0)
    assert shown(direct(whole, Scene(finished=["c", "b"], show=["c", "b"]), 1)) == ("finished", "b")


def test_where_nobody_is_there_the_best_follow_each_other_slowly_and_whoever_comes_is_shown_at_once() -> None:
    idle = Scene(finished=["a", "b"], show=["b", "a"])
    stage, seen = None, []
    for slide in range(3):
        stage = direct(stage, idle, slide * SLIDE_S)
        seen.append(shown(stage))
        assert shown(direct(stage, idle, slide * SLIDE_S + SLIDE_S - 1)) == seen[-1]
    assert seen == [("calm", "b"), ("calm", "a"), ("calm", "b")]
    assert shown(direct(stage, Scene(["n"], ["a", "b"], True, ["b", "a"]), 2 * SLIDE_S + 1)) == ("forming", "n")
