"""What waits for the wall, on the Host page: approved, kept off, all at once, and thought over again."""

from __future__ import annotations

from db import queue
from db.rules import host_rules
from tests.pages.conftest import OpenPage
from tests.pages.test_host import hosted, sign_in
from tests.pages.visits import SOMEBODY, Studio, everything_shown

__all__ = ["hosted"]  # the fixture


def test_the_host_lets_pictures_onto_the_wall_where_they_want_to_be_asked(hosted: Studio, open_page: OpenPage) -> None:
    hosted.start_executor()
    drawn = [hosted.draw(prompt, SOMEBODY) for prompt in ("first", "second", "third")]
    app = sign_in(open_page)
    assert "for the wall" not in everything_shown(app), "nobody is asked who does not want to be"
    (link,) = app.get("link_button")
    assert (link.proto.label, link.proto.url) == ("Open the wall", "./wall")
    app.segmented_control(key="host_section").set_value("Wall").run()
    app.toggle(key="host_wall_approval").set_value(True).run()
    assert host_rules.get(hosted.db).wall_approval and "3 wait for the wall" in everything_shown(app)

    app.button(key=f"wall_approve_{drawn[2].id}").click().run()
    app.button(key=f"wall_decline_{drawn[1].id}").click().run()
    assert "1 waits for the wall" in everything_shown(app)
    app.button(key="wall_undo").click().run()
    assert "2 wait for the wall" in everything_shown(app)
    app.button(key="wall_approve_all").click().run()
    assert "Nothing waits" in everything_shown(app)
    assert all(queue.get(hosted.db, job.id).on_wall for job in drawn)
    assert len(queue.list_jobs(hosted.db)) == 3, "the gallery has all of them as before"

    hosted.draw("fourth")
    app.segmented_control(key="host_section").set_value("Queue").run()
    app.button(key="host_to_wall").click().run()
    assert "1 waits for the wall" in everything_shown(app)
    host_rules.change(hosted.db, wall_approval=False)
    app.run()
    assert not host_rules.get(hosted.db).wall_approval, "an open page does not bring back what was set elsewhere"
    assert not app.toggle(key="host_wall_approval").value
