"""What the web app remembers of files: never more than it was given room for, and pictures as browsers get them."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pages.shared.kept_files import WIDEST, Kept, _as_sent

ROOT = Path(__file__).resolve().parents[2]


def picture(form: str, mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, form)
    return out.getvalue()


def test_a_thousand_files_take_no_more_room_than_there_is() -> None:
    kept = Kept(max_bytes=10_000)
    for number in range(1000):
        assert kept.get(number, lambda: bytes(900)) == bytes(900)
        assert kept.bytes <= 10_000
    made: list[int] = []
    kept.get(999, lambda: made.append(1) or b"")  # type: ignore[func-returns-value]
    assert not made, "the newest is still there"
    kept.get(0, lambda: made.append(1) or b"new")  # type: ignore[func-returns-value]
    assert made, "the oldest has made room"


def test_a_file_larger_than_the_room_is_given_and_not_kept() -> None:
    kept = Kept(max_bytes=100)
    assert kept.get("large", lambda: bytes(101)) == bytes(101)
    assert kept.bytes == 0


def test_what_cannot_be_read_is_asked_for_again_the_next_time() -> None:
    kept = Kept()
    with pytest.raises(FileNotFoundError):
        kept.get("key", lambda: Path("/nowhere/at/all").read_bytes())
    assert kept.get("key", lambda: b"there now") == b"there now"
    kept.clear()
    assert kept.get("key", lambda: b"newer") == b"newer"


@pytest.mark.parametrize(
    ("form", "mode", "sent"), [("WEBP", "RGB", "JPEG"), ("PNG", "RGB", "JPEG"), ("WEBP", "RGBA", "PNG")]
)
def test_a_picture_goes_to_browsers_in_a_format_that_is_not_made_anew_at_every_run(
    form: str, mode: str, sent: str
) -> None:
    found = Image.open(io.BytesIO(_as_sent(picture(form, mode))))
    assert found.format == sent and found.size == (40, 30)
    assert _as_sent(_as_sent(picture(form, mode))) == _as_sent(picture(form, mode))


def test_an_upscaled_picture_is_as_wide_as_a_page_can_be_and_an_animation_stays_one() -> None:
    assert Image.open(io.BytesIO(_as_sent(picture("PNG", size=(2920, 1460))))).size == (WIDEST, 730)
    moving = picture("GIF", "P")
    assert _as_sent(moving) is moving


def test_the_web_app_loads_no_engine_and_no_chart_library() -> None:
    code = (
        "import importlib, pathlib, sys, webapp\n"
        "[importlib.import_module('.'.join(p.with_suffix('').parts)) for p in pathlib.Path('pages').rglob('*.py')]\n"
        "sys.exit(', '.join({'torch', 'diffusers', 'altair'} & set(sys.modules)) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-300:]
