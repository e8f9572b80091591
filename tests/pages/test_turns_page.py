"""How long it takes is said before it is asked for; a picture that made room for others is shown as it is."""

from __future__ import annotations

from db import queue
from db.rules import host_rules
from pages.shared.navigation import QUEUE
from tests.pages.conftest import OpenPage
from tests.pages.test_generation import generate, write
from tests.pages.visits import EXECUTOR, SOMEBODY, Studio, everything_shown


def test_how_long_it_takes_here_is_said_before_it_is_asked_for(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    assert "About " not in everything_shown(open_page()), "nothing is known yet"
    studio.took(3.0, steps=40)
    app = write(open_page(), "a red heart")
    app.number_input(key="set_vqgan-clip_mini_steps").set_value(180).run()
    assert "About 9 min here." in everything_shown(app)
    app.number_input(key="set_pictures").set_value(2).run()
    assert "About 9 min here." not in everything_shown(app) and "min here." in everything_shown(app)


def test_what_costs_more_than_the_host_allows_is_said_and_refused(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    studio.took(3.0, steps=40)
    host_rules.change(studio.db, max_job_s=300)
    app = write(open_page(), "a red heart")
    app.number_input(key="set_vqgan-clip_mini_steps").set_value(180).run()
    sentence = "This would take about 9 min here, and the host allows one job 5 min; ask for 100 steps or fewer"
    assert sentence in everything_shown(app)
    generate(app)
    assert sentence in app.error[0].value and not queue.queued_jobs(studio.db)
    app.number_input(key="set_vqgan-clip_mini_steps").set_value(100).run()
    generate(app)
    assert [job.budget_s for job in queue.queued_jobs(studio.db)] == [300]


def test_a_paused_picture_keeps_its_progress_and_says_when_it_goes_on(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    studio.took(1.0, steps=40)
    studio.enqueue("a red heart", steps=2000)
    job = studio.pause(studio.run(step=300))
    studio.enqueue("a penguin", SOMEBODY, steps=100)
    for page, shown in ((QUEUE, "Yours · Paused at step 300 of 2,000 · "), (None, "Paused at step 300 of 2,000 · ")):
        app = open_page() if page is None else open_page(page)
        told = everything_shown(app)
        assert f"{shown}its turn comes again in about" in told
    assert 'aria-valuenow="15"' in told and "t2i-bar none" not in told, "the bar of what is half done is there"
    host_rules.change(studio.db, paused=True)
    assert "Starts when the host goes on" in everything_shown(open_page(QUEUE))
    assert queue.get(studio.db, job.id).attempt == 1


def test_a_picture_that_has_cost_all_it_may_can_be_gone_on_from(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    studio.enqueue("a red heart")
    job = studio.run()
    studio.put(job, "picture", "png", "image/png")
    queue.fail(studio.db, worker_id=EXECUTOR, job_id=job.id, kind="over_budget", message="It has had the 5 min.")
    app = open_page()
    assert "Failed. It has had the 5 min." in everything_shown(app)
    app.button(key=f"go_on_{job.id}").click().run()
    generate(app)
    (onward,) = queue.queued_jobs(studio.db)
    assert onward.parent_id == job.id and onward.params["init_image"]
