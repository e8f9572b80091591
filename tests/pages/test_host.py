"""The host's evening: only who has the password may do what the host does, and what is hidden is gone everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from db import boards, queue, votes
from db.datasets import records
from db.engine import writing
from db.evening import bulk
from db.evening.tables import alias
from db.jobs import State
from db.queue.enqueueing import NewJob
from db.rules import host_rules, host_sessions, keys, visitors
from db.sheets import submissions
from db.sheets.submissions import NewSheet
from pages.hosting import sign_in as signing_in
from pages.hosting.sign_in import is_hosts_account, the_host
from pages.shared import visitor as visiting
from pages.shared.navigation import COMPARE, HOST, INFERENCES, QUEUE, SHEETS, TRAIN, WALL
from pages.shared.studio import has_host, the_studio
from studio import datasets, host
from studio.context import Submitter
from studio.errors import NotHost
from tests.captioned_files import write_zip
from tests.pages.conftest import OpenPage
from tests.pages.visits import ME, SOMEBODY, Studio, everything_shown

PASSWORD = "correct horse battery"


@pytest.fixture
def hosted(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.setenv("T2I_HOST_PASSWORD", PASSWORD)
    monkeypatch.setenv("T2I_EXPORTS_DIR", str(tmp_path / "exports"))
    monkeypatch.setattr(signing_in, "_address", lambda: "192.0.2.7")  # the test harness has none, and no cookies
    monkeypatch.setattr(signing_in, "_cookie", lambda name: None)
    return studio


def sign_in(open_page: OpenPage, section: str | None = None, password: str = PASSWORD, **query: str):
    app = open_page(HOST, **query)
    app.text_input(key="host_password").input(password)
    app.button[0].click().run()
    if section is not None:
        app.segmented_control(key="host_section").set_value(section).run()
    return app


def test_a_button_of_the_host_does_nothing_once_the_session_has_ended(hosted: Studio, open_page: OpenPage) -> None:
    job = hosted.enqueue("a red heart", SOMEBODY)
    app = sign_in(open_page)
    host_sessions.end_all(hosted.db)
    app.button(key=f"host_cancel_{job.id}").click().run()
    assert "Only the host" in app.error[0].value and "The queue is" not in everything_shown(app)
    assert queue.get(hosted.db, job.id).state == State.QUEUED


def test_a_wrong_password_shows_nothing_and_the_right_one_the_host_page(hosted: Studio, open_page: OpenPage) -> None:
    hosted.draw("a red heart")
    app = sign_in(open_page, password="guess")
    assert "not the password" in everything_shown(app) and "The queue is" not in everything_shown(app)
    app.text_input(key="host_password").input(PASSWORD)
    app.button[0].click().run()
    assert "The queue is open" in everything_shown(app)
    next(b for b in app.button if b.label == "Sign out").click().run()
    assert "The queue is" not in everything_shown(app)


def test_there_is_no_host_page_without_a_password(studio: Studio, open_page: OpenPage) -> None:
    assert not has_host()
    app = open_page()
    with pytest.raises(ValueError, match="host"):
        app.switch_page(HOST).run()
    with pytest.raises(NotHost):
        host.pause(the_studio(), the_host())


def test_who_is_the_host_by_account() -> None:
    emails = "Ada@example.org, bob@example.org"
    signed_in = {"is_logged_in": True, "email": "ada@example.org"}
    assert is_hosts_account(signed_in, emails)
    assert is_hosts_account({**signed_in, "email_verified": True}, emails)
    for account in (
        {},
        {**signed_in, "is_logged_in": False},
        {**signed_in, "email": "eve@example.org"},
        {**signed_in, "email": ""},
        {**signed_in, "email_verified": False},
    ):
        assert not is_hosts_account(account, emails)
    assert not is_hosts_account({"is_logged_in": True, "email": ""}, "")


def test_the_host_pauses_the_queue_and_visitors_see_it(hosted: Studio, open_page: OpenPage) -> None:
    hosted.start_executor()
    hosted.enqueue("a red heart", SOMEBODY)
    app = sign_in(open_page)
    next(b for b in app.button if b.label == "Pause").click().run()
    assert "The queue is paused" in everything_shown(app)
    for place in (QUEUE, WALL):
        assert "The host has paused the queue" in everything_shown(open_page(place))
    assert queue.claim(hosted.db, worker_id="w", limit=1, lease_s=9) == []
    next(b for b in app.button if b.label == "Resume").click().run()
    assert "paused" not in everything_shown(open_page(QUEUE))


def test_what_the_host_hides_is_gone_everywhere_at_once(hosted: Studio, open_page: OpenPage) -> None:
    parent = hosted.draw("a red heart")
    hosted.enqueue("the secret one", ME, parent_id=parent.id)
    secret = hosted.finish(hosted.run())
    child = hosted.draw("its child", ME, parent_id=secret.id)
    new = NewJob(
        engine="vqgan-clip", checkpoint="mini", batch_key="b", prompt="the hidden candidate", params={}, total_steps=1
    )
    two = NewSheet(kind="candidates", prompt="the secret sheet", wanted=[("1", new), ("2", new)])
    sheet, _ = submissions.submit(hosted.db, two, submitter=ME)
    app = sign_in(open_page, "Pictures")
    app.button(key=f"host_hide_{secret.id}").click().run()
    assert queue.get(hosted.db, secret.id).hidden and "Hidden" in everything_shown(app)

    for job_id in (None, secret.id, parent.id, child.id):
        place = open_page(INFERENCES, **({"job": job_id} if job_id else {}))
        assert "the secret one" not in everything_shown(place) and not place.exception
        assert ("No such job" in everything_shown(place)) == (job_id == secret.id)
    assert "the secret sheet" in everything_shown(open_page(SHEETS))
    for member in submissions.jobs_of(hosted.db, sheet.id):
        queue.set_hidden(hosted.db, member.job.id)
    assert "No such sheet" in everything_shown(open_page(SHEETS, sheet=sheet.id))
    assert "the secret sheet" not in everything_shown(open_page(SHEETS))
    assert "the hidden candidate" not in everything_shown(open_page(QUEUE))

    app.button(key=f"host_show_{secret.id}").click().run()
    assert not queue.get(hosted.db, secret.id).hidden


def test_an_upscaled_copy_is_hidden_with_its_picture(hosted: Studio, open_page: OpenPage) -> None:
    secret = hosted.draw("the secret one", SOMEBODY)
    new = NewJob(
        engine="upscale",
        checkpoint="mini-upscaler",
        batch_key="b",
        prompt=secret.prompt,
        params={"width": 64, "height": 64},
        total_steps=1,
        parent_id=secret.id,
    )
    queue.enqueue(hosted.db, new, submitter=ME)
    (copy,) = queue.list_jobs(hosted.db, engine="upscale")
    hosted.upscale(copy)
    variation = hosted.draw("a variation", ME, parent_id=secret.id)
    app = sign_in(open_page, "Pictures")
    app = app.button(key=f"host_hide_{secret.id}").click().run()
    assert queue.get(hosted.db, copy.id).hidden and not queue.get(hosted.db, variation.id).hidden
    assert "the secret one" not in everything_shown(open_page(INFERENCES))
    app.button(key=f"host_show_{secret.id}").click().run()
    assert not queue.get(hosted.db, copy.id).hidden


def test_the_host_sends_to_the_front_cancels_and_bans(hosted: Studio, open_page: OpenPage) -> None:
    first, last = hosted.enqueue("a red heart", SOMEBODY), hosted.enqueue("a blue car", "troll-troll-troll-troll")
    app = sign_in(open_page)
    app.button(key=f"host_front_{last.id}").click().run()
    assert queue.queued_jobs(hosted.db)[0].id == last.id
    app.button(key=f"host_cancel_{first.id}").click().run()
    app.segmented_control(key="host_section").set_value("Pictures").run()
    app.button(key=f"host_hide_{first.id}").click().run()
    assert queue.get(hosted.db, first.id).hidden, "a cancelled job may have a preview and a prompt"
    assert queue.get(hosted.db, first.id).state == State.CANCELLED
    app.segmented_control(key="host_section").set_value("Visitors").run()
    app.button(key="bulk_ban_and_hide").click().run()
    assert "Nobody is chosen" in everything_shown(app)
    app.checkbox(key=f"chosen_visitor_{alias('troll-troll-troll-troll')}").check().run()
    app.button(key="bulk_ban_and_hide").click().run()
    assert queue.get(hosted.db, last.id).hidden and queue.get(hosted.db, last.id).state == State.CANCELLED
    page = open_page(visitor="troll-troll-troll-troll")
    page.text_area(key="set_prompt").set_value("a red heart").run()
    next(b for b in page.button if b.label == "Generate").click().run()
    assert "closed the queue" in everything_shown(page)
    app.button(key=f"lift_the_ban_{alias('troll-troll-troll-troll')}").click().run()
    visitors.check(hosted.db, "troll-troll-troll-troll")


def test_one_look_and_one_press_end_a_flood_and_undo_takes_it_back(
    hosted: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visiting, "_peer", lambda: "192.0.2.7")
    for n in range(3):
        page = open_page(visitor=f"fresh-fresh-fresh-{n}")
        page.text_area(key="set_prompt").set_value("a red heart").run()
        next(b for b in page.button if b.label == "Generate").click().run()
    app = sign_in(open_page, "Visitors")
    (address,) = bulk.by_address(hosted.db)
    shown = everything_shown(app)
    assert "3 visitors" in shown and "3 jobs, 3 waiting" in shown and f"address {address.id[:6]}" in shown
    app.checkbox(key=f"chosen_address_{alias(address.id)}").check().run()
    app.selectbox(key="ban_for").set_value("1 hour").run()
    app.button(key="bulk_ban").click().run()
    assert not app.checkbox(key=f"chosen_address_{alias(address.id)}").value
    assert queue.counts(hosted.db)["queued"] == 0
    page = open_page(visitor="fresh-fresh-fresh-9")
    page.text_area(key="set_prompt").set_value("a red heart").run()
    next(b for b in page.button if b.label == "Generate").click().run()
    assert "closed the queue" in everything_shown(page)
    (done,) = bulk.actions(hosted.db)
    assert "3 ended, 1 banned" in everything_shown(app)
    assert "Banned for" in everything_shown(sign_in(open_page, "Visitors")), "the host is never locked out"
    app.button(key=f"undo_{alias(done.id)}").click().run()
    next(b for b in page.button if b.label == "Generate").click().run()
    assert queue.counts(hosted.db)["queued"] == 1


def test_the_hosts_rules_hold_on_the_page(hosted: Studio, open_page: OpenPage) -> None:
    app = sign_in(open_page, "Rules")
    app.number_input[0].set_value(1)
    next(box for box in app.number_input if box.label == "Minutes for one job").set_value(5)
    next(b for b in app.button if b.label == "Save limits").click().run()
    app.text_area[0].set_value("gore\nvery bad")
    next(b for b in app.button if b.label == "Save words").click().run()
    app.multiselect[0].unselect("biggan-clip").unselect("vqgan-clip").run()
    next(b for b in app.button if b.label == "Save engines").click().run()
    assert "so visitors must see it" in everything_shown(app)
    app.selectbox[0].select("latent-diffusion").run()
    next(b for b in app.button if b.label == "Save engines").click().run()
    now = host_rules.get(hosted.db)
    assert (now.max_queued, now.max_job_s, now.refused_words) == (1, 300, ("gore", "very bad"))
    assert (now.default_engine, set(now.withheld)) == ("latent-diffusion", {"biggan-clip", "vqgan-clip"})
    page = open_page()
    assert page.selectbox(key="set_engine").value == "latent-diffusion"
    offered = set(page.selectbox(key="set_engine").options)
    assert {"CLIP-guided diffusion", "Latent diffusion"} <= offered
    assert not {"VQGAN + CLIP", "BigGAN + CLIP"} & offered
    compare = open_page(COMPARE)
    engines = compare.multiselect(key="compare_rows_values_engine")
    assert {"latent-diffusion", "guided-diffusion"} <= set(engines.value)
    assert not {"VQGAN + CLIP", "BigGAN + CLIP"} & set(engines.options)
    page.text_area(key="set_prompt").set_value("G.Ó.R.E").run()
    next(b for b in page.button if b.label == "Generate").click().run()
    assert "does not allow" in everything_shown(page)
    page.text_area(key="set_prompt").set_value("a heart").run()
    for _ in range(2):
        next(b for b in page.button if b.label == "Generate").click().run()
    assert queue.counts(hosted.db)[State.QUEUED] == 1 and "wait or cancel one" in everything_shown(page)


def test_the_host_lets_visitors_train_and_takes_it_back(hosted: Studio, open_page: OpenPage) -> None:
    closed = "Training is not open to visitors here."
    assert closed in everything_shown(open_page(TRAIN))
    app = sign_in(open_page, "Rules")
    box = next(box for box in app.selectbox if "have models trained" in box.label)
    assert box.options == ["They may not, as configured", "They may", "They may not"]
    box.select("They may")
    next(b for b in app.button if b.label == "Save training").click().run()
    assert host_rules.get(hosted.db).train is True
    assert closed not in everything_shown(open_page(TRAIN))
    host.set_training(the_studio(), Submitter("host", is_host=True), False)
    assert closed in everything_shown(open_page(TRAIN))


def test_the_host_exports_and_deletes_the_evening(hosted: Studio, open_page: OpenPage, tmp_path: Path) -> None:
    one, two = hosted.draw("a red heart"), hosted.draw("a red heart", SOMEBODY)
    votes.cast(hosted.db, voter=ME, left_id=one.id, right_id=two.id, choice="left")
    app = sign_in(open_page, "Data")
    next(b for b in app.button if b.label == "Export").click().run()
    assert "2 pictures and 1 vote in" in " ".join(s.value for s in app.success).replace("\\", "")
    assert len(list((tmp_path / "exports").glob("evening-*.zip"))) == 1

    def delete(typed: str) -> str:
        next(t for t in app.text_input if t.label.startswith("Type")).input(typed)
        next(b for b in app.button if b.label == "Delete the event's data").click().run()
        return everything_shown(app) + " ".join(s.value for s in app.success)

    assert "type DELETE" in delete("delete")
    assert "pause the queue" in delete("DELETE")
    host_rules.change(hosted.db, paused=True)
    assert queue.counts(hosted.db)[State.SUCCEEDED] == 2
    assert "2 jobs and" in delete("DELETE") and queue.counts(hosted.db)[State.SUCCEEDED] == 0


def test_the_host_sees_what_visitors_gave_to_train_from_and_deletes_it(
    hosted: Studio, open_page: OpenPage, tmp_path: Path
) -> None:
    file = write_zip(tmp_path / "discs.zip", 12)
    given = datasets.add_zip(hosted.opened(train=True), Submitter(SOMEBODY), file, name="<i>Discs", licence="CC0")
    app = sign_in(open_page, "Data")
    assert "&lt;i&gt;Discs" in everything_shown(app) and "12 pictures" in everything_shown(app)
    assert not app.button(key=f"delete_{given.id}").click().run().exception
    assert "Discs" not in everything_shown(app) and not records.listed(hosted.db)


def test_a_visitors_name_is_shown_as_typed_with_the_pictures(studio: Studio, open_page: OpenPage) -> None:
    job = studio.draw("a red heart")
    app = open_page()
    app.text_input(key="visitor_name").input("<b>Ada</b>")
    app.button(key="save_name").click().run()
    shown = everything_shown(open_page(INFERENCES, visitor=SOMEBODY, job=job.id))
    assert "&lt;b&gt;Ada&lt;/b&gt;" in shown and "<b>Ada" not in shown


def test_one_can_look_at_ones_own_jobs_of_the_queue_alone(studio: Studio, open_page: OpenPage) -> None:
    studio.enqueue("a red heart"), studio.enqueue("a blue car", SOMEBODY)
    app = open_page(QUEUE)
    assert "a blue car" in everything_shown(app)
    app.toggle(key="queue_mine").set_value(True).run()
    assert "a blue car" not in everything_shown(app) and "a red heart" in everything_shown(app)


def test_a_key_is_made_shown_once_and_revoked(hosted: Studio, open_page: OpenPage) -> None:
    app = sign_in(open_page, "Keys")
    assert "No keys yet" in everything_shown(app) and "on this machine need no key" in everything_shown(app)
    next(box for box in app.text_input if box.label == "Name").input("a <b>bot</b>")
    next(box for box in app.number_input if box.label == "Jobs waiting at once").set_value(5)
    next(button for button in app.button if button.label == "Make a key").click().run()
    assert not app.exception and not app.error
    secret = app.code[0].value
    found = keys.find(hosted.db, secret)
    assert found is not None and (found.name, found.scope, found.max_queued) == ("a <b>bot</b>", "submit", 5)
    assert "shown this once" in everything_shown(app) and f"Bearer {secret}" in app.code[1].value
    assert "/v1" in app.code[2].value and "<b>" not in everything_shown(app)
    next(button for button in app.button if button.label == "I have copied it").click().run()
    assert not app.code and secret not in everything_shown(app)
    assert not sign_in(open_page, "Keys").code, "nowhere else and never again"
    app.button(key=f"revoke_{found.id}").click().run()
    assert "revoked just now" in everything_shown(app) and keys.find(hosted.db, secret) is None
    assert not any((button.key or "").startswith("revoke_") for button in app.button)


def test_what_can_be_no_key_is_a_sentence(hosted: Studio, open_page: OpenPage) -> None:
    app = sign_in(open_page, "Keys")
    next(button for button in app.button if button.label == "Make a key").click().run()
    assert "needs a name" in app.error[0].value and not app.code and not app.exception
    assert keys.every(hosted.db) == []


def test_a_key_is_neither_made_nor_revoked_once_the_session_has_ended(hosted: Studio, open_page: OpenPage) -> None:
    secret, key = keys.make(hosted.db, "a bot")
    app = sign_in(open_page, "Keys")
    host_sessions.end_all(hosted.db)
    app.button(key=f"revoke_{key.id}").click().run()
    assert "Only the host" in app.error[0].value and keys.find(hosted.db, secret) == key


def test_the_page_says_who_needs_a_key(hosted: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T2I_API", "off")
    assert "switched off" in everything_shown(sign_in(open_page, "Keys"))


def test_the_host_tries_again_what_failed_some_or_all_of_it(hosted: Studio, open_page: OpenPage) -> None:
    jobs = []
    for n, kind in enumerate(("executor_lost", "executor_lost", "out_of_memory")):
        hosted.enqueue(f"<b>heart</b> {n}", SOMEBODY)
        jobs.append(hosted.run())
        queue.fail(hosted.db, worker_id="executor-1", job_id=jobs[n].id, kind=kind, message=f"Why {n}.")
    app = sign_in(open_page, "Failed")
    shown = everything_shown(app)
    assert all(text in shown for text in ("Why 0.", "Executor lost", "Out of memory", "executor-1", "VQGAN + CLIP"))
    assert "<b>heart" not in shown and app.button(key="failed_again").disabled
    app.checkbox(key=f"failed_{jobs[2].id}").check().run()
    app.button(key="failed_hide").click().run()
    assert queue.get(hosted.db, jobs[2].id).hidden and "1 job is hidden" in everything_shown(app).replace("\\", "")
    app.button(key="failed_mark").click().run()
    assert app.button(key="failed_again").label == "Try 2 again"
    app.button(key="failed_again").click().run()
    assert "2 jobs wait again" in everything_shown(app).replace("\\", "") and "Nothing failed" in everything_shown(app)
    assert queue.counts(hosted.db)[State.QUEUED] == 2
    assert {job.submitter for job in queue.queued_jobs(hosted.db)} == {SOMEBODY}


def test_more_failures_than_a_page_shows_are_tried_again_with_one_press(
    hosted: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages.hosting import failures

    for n in range(3):
        hosted.enqueue(f"heart {n}", SOMEBODY)
        job = hosted.run()
        queue.fail(hosted.db, worker_id="executor-1", job_id=job.id, kind="executor_lost", message="Lost.")
    monkeypatch.setattr(failures, "PAGE", 2)
    app = sign_in(open_page, "Failed")
    assert "The newest 2 of 3" in everything_shown(app)
    app.button(key="failed_all").click().run()
    assert queue.counts(hosted.db)[State.QUEUED] == 3


def test_before_old_favourites_go_the_host_reads_how_many(hosted: Studio, open_page: OpenPage) -> None:
    hosted.start_executor()
    boards.put(hosted.db, ME, [hosted.draw(f"heart {n}", SOMEBODY).id for n in range(2)])
    with writing(hosted.db) as conn:
        conn.execute(sa.text("UPDATE jobs SET finished_at = 1.0"))
    app = sign_in(open_page, "Data")
    app.number_input(key="host_keep_days").set_value(7)
    next(button for button in app.button if button.label == "Save").click().run()
    assert "Nothing is to be removed now. 2 older ones stay." in everything_shown(app)
    app.number_input(key="host_keep_favourites").set_value(1)
    next(button for button in app.button if button.label == "Save").click().run()
    assert "1 of them is kept by visitors, beyond the 1 newest of each. 1 older one stays." in everything_shown(app)
    assert host_rules.get(hosted.db).keep_favourites == 1 and len(queue.list_jobs(hosted.db)) == 2
