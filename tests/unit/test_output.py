"""Files written: pictures and films that open everywhere, the same bytes each time, and uploads that cannot hurt."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import threading
import zlib
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageSequence, PngImagePlugin

from api.paddlehub.film import frames_of
from generator.images.decode import BadImage, decode_image
from generator.images.encode import encode_preview, encode_thumbnail, to_image
from generator.output.animation import Frame, films
from generator.output.film import Recorder
from generator.output.metadata import NoMetadata, encode_png, read_metadata
from generator.output.pace import positions
from generator.params import BadParams, Params, validate


def wanted(**changes: Any) -> Params:
    return validate("vqgan-clip", {"prompt": "a red heart", "seed": 1} | changes)


def picture(step: int, side: int = 64) -> np.ndarray:
    """(3, side, side) in [0, 1], another one for each step."""
    y, x = np.mgrid[0:side, 0:side] / side
    return np.stack([np.sin(5 * x + step / 9) / 2 + 0.5, y, (x * y + step / 50) % 1]).astype(np.float32)


def recorded(folder: Path, steps: int = 12, side: int = 64, **options: Any) -> Recorder:
    recorder = Recorder(folder, wanted(), **options)
    for step in range(steps + 1):
        recorder.add(step, picture(step, side))
    return recorder


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_finished_picture_becomes_every_file_that_was_promised(tmp_path: Path) -> None:
    files = recorded(tmp_path).finish(0.4321)
    assert set(files) == {"png", "thumbnail", "json", "gif", "webp", "mp4"}
    with Image.open(io.BytesIO(files["png"])) as png:
        assert png.size == (64, 64)
        assert np.array_equal(np.asarray(png), np.asarray(to_image(picture(12))))
    with Image.open(io.BytesIO(files["thumbnail"])) as thumbnail:
        assert thumbnail.format == "WEBP" and thumbnail.size == (256, 256)
    saved = json.loads(files["json"])
    assert saved["seed"] == 1 and saved["score"] == 0.4321 and saved["params"]["prompt"] == "a red heart"


def timed(film: bytes) -> list[tuple[Image.Image, int]]:
    """The pictures of a GIF or WebP, and the ms that each stays."""
    with Image.open(io.BytesIO(film)) as opened:
        shown = []
        for one in ImageSequence.Iterator(opened):
            one.load()
            shown.append((one.convert("RGB"), int(one.info["duration"])))
        assert opened.info["loop"] == 0
    return shown


def away(shown: Image.Image, image: Image.Image) -> float:
    """How much two pictures differ, in [0, 255]."""
    small = [np.asarray(one.resize((8, 8), Image.Resampling.BOX), dtype=float) for one in (shown, image)]
    return float(np.abs(small[0] - small[1]).mean())


@pytest.mark.parametrize(("kind", "side", "fps"), [("gif", 256, 10), ("webp", 256, 10)])
def test_an_animation_is_large_smooth_endless_and_holds_its_last_picture(
    tmp_path: Path, kind: str, side: int, fps: float
) -> None:
    shown = timed(recorded(tmp_path).finish(mp4=False)[kind])
    assert {min(one.size) for one, _ in shown} == {side}
    assert sum(ms for _, ms in shown) == pytest.approx(4500, abs=50) and 1500 <= shown[-1][1] < 1600
    assert 3 * fps - 6 < len(shown) < 3 * fps + 3, "equal ones are one that stays longer"
    assert away(shown[0][0], to_image(picture(0))) < 4 and away(shown[-1][0], to_image(picture(12))) < 4


def test_films_begin_with_how_the_draft_formed_and_end_with_the_upscaled_picture(tmp_path: Path) -> None:
    draft = np.stack([np.full((3, 64, 64), share, np.float32) for share in (0.0, 0.5)])
    large = to_image(picture(40, 256))
    shown = timed(recorded(tmp_path).finish(0.5, large, draft=draft, gif=False, mp4=False)["webp"])
    assert away(shown[0][0], Image.new("RGB", (64, 64))) < 4
    assert any(away(one, to_image(picture(0))) < 8 for one, _ in shown[1:-1])
    assert away(shown[-1][0], large) < 4


def test_a_film_lingers_where_much_changes_and_hurries_where_nothing_does() -> None:
    shown = positions([10.0, 0.0, 0.0, 0.0, 10.0], 101)
    assert shown[0] == 0 and shown[-1] == 5 and shown == sorted(shown)
    assert sum(1 <= one <= 4 for one in shown) < 20, "three of five frames, in a fifth of the time"
    assert positions([0.0, 0.0], 5)[-1] == 2 and positions([], 1) == [0]


def test_every_film_can_be_sent_whatever_is_in_it_and_is_the_same_bytes_again(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frames: list[Frame] = [Image.fromarray(random.integers(0, 256, (384, 384, 3), np.uint8)) for _ in range(3)]
    made = [films(frames, tmp_path, lambda kind, error: pytest.fail(f"{kind}: {error}")) for _ in range(2)]
    assert {kind: len(film) < 2_000_000 for kind, film in made[0].items()} == dict.fromkeys(
        ("gif", "webp", "mp4"), True
    )
    assert made[0] == made[1]


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_a_film_says_when_each_step_is_to_be_seen(tmp_path: Path, kind: str) -> None:
    film = recorded(tmp_path, 4).finish(mp4=False)[kind]
    found = frames_of(film, [1, 3, 4])
    assert [step for step, _ in found] == [1, 3, 4]
    for step, one in found:
        nearest = min(range(5), key=lambda other: away(one, to_image(picture(other))))
        assert nearest == step


@pytest.mark.parametrize(("width", "height"), [(64, 64), (76, 52), (301, 257)])
def test_a_film_plays_everywhere_even_of_a_small_or_odd_picture(tmp_path: Path, width: int, height: int) -> None:
    recorder = Recorder(tmp_path / "work", wanted())
    for step in range(4):
        recorder.add(step, picture(step, 320)[:, :height, :width])
    (tmp_path / "film.mp4").write_bytes(recorder.finish(gif=False, webp=False)["mp4"])
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(tmp_path / "film.mp4")]
    about = subprocess.run(command, capture_output=True, text=True).stderr
    assert "h264" in about and "yuv420p" in about
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "film.mp4"))
    assert frames > 4 and seconds > 1.5
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "film.mp4"))
    size = next(reader)["size"]
    reader.close()
    assert min(size) >= 512 and size[0] % 2 == 0 and size[1] % 2 == 0


def test_the_same_picture_is_the_same_bytes(tmp_path: Path) -> None:
    assert recorded(tmp_path / "a").finish(0.5) == recorded(tmp_path / "b").finish(0.5)


def test_a_picture_without_steps_still_has_all_its_files(tmp_path: Path) -> None:
    files = recorded(tmp_path, steps=0).finish()
    assert all(files.values()) and json.loads(files["json"])["score"] is None


def test_before_the_first_frame_there_is_nothing_to_finish(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no picture yet"):
        Recorder(tmp_path, wanted()).finish()


def test_however_long_the_job_the_frames_stay_bounded_and_even(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, wanted(), max_frames=20)
    for step in range(333):
        recorder.add(step, picture(step, 8))
        assert len(list((tmp_path / "frames").glob("*.png"))) <= 20
    assert recorder.steps == list(range(0, 333, 32))
    shown = timed(recorder.finish(mp4=False, webp=False)["gif"])
    assert away(shown[-1][0], to_image(picture(332, 8))) < 6, "the finished picture closes the film"


def test_an_interrupted_film_ends_the_same_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = recorded(tmp_path / "whole", 30, max_frames=10)
    recorded(tmp_path / "cut", 17, max_frames=10)
    again = Recorder(tmp_path / "cut", wanted(), max_frames=10)
    for step in range(14, 31):  # the state that was saved last was that of step 14
        again.add(step, picture(step))
    assert again.steps == whole.steps
    assert again.finish(mp4=False) == whole.finish(mp4=False)


def test_frames_after_the_step_gone_on_from_are_dropped(tmp_path: Path) -> None:
    recorded(tmp_path, 20)
    again = Recorder(tmp_path, wanted())
    again.add(5, picture(99))
    assert again.steps == [0, 1, 2, 3, 4, 5]
    last = again.last()
    assert last is not None and np.array_equal(np.asarray(last), np.asarray(to_image(picture(99))))


def test_half_a_file_left_by_a_kill_is_cleared_away(tmp_path: Path) -> None:
    recorded(tmp_path, 3)
    (tmp_path / "frames" / "000004.png.part").write_bytes(b"half")
    assert Recorder(tmp_path, wanted()).steps == [0, 1, 2, 3]
    assert not list((tmp_path / "frames").glob("*.part"))


def test_the_settings_come_back_out_of_the_picture() -> None:
    params = wanted(prompt="ein Herz ♥:2 | blurry:-0.5", style="noto", steps=7, cutn=3, clip=("mini",))
    data = encode_png(to_image(picture(0)), "vqgan-clip", params, 0.25)
    assert read_metadata(data) == ("vqgan-clip", params)


def test_other_tools_find_prompt_and_settings_where_they_look() -> None:
    data = encode_png(
        to_image(picture(0)), "vqgan-clip", wanted(steps=40, cutn=3, clip=("mini",), optimiser="AdamW"), 0.25
    )
    with Image.open(io.BytesIO(data)) as image:
        prompt, settings = image.info["parameters"].split("\n")
    assert prompt == "a red heart"
    assert settings.startswith("Steps: 40, Sampler: AdamW, Seed: 1, Size: 64x64, Model: mini, ")
    assert "Cutn: 3" in settings


def test_a_picture_from_elsewhere_is_answered_with_one_sentence() -> None:
    with pytest.raises(NoMetadata, match="does not say how it was made"):
        read_metadata(encoded(Image.new("RGB", (4, 4)), "PNG"))
    with pytest.raises(NoMetadata, match="not a PNG"):
        read_metadata(b"GIF89a nonsense")
    for text in ("{", "[]", '{"engine": 1, "params": {}}', "[" * 100_000):
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text("text2image", text)
        with pytest.raises(NoMetadata, match="damaged"):
            read_metadata(encoded(Image.new("RGB", (4, 4)), "PNG", pnginfo=chunks))
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("text2image", '{"engine": "vqgan-clip", "params": {"prompt": "x", "evil": 1}}')
    with pytest.raises(BadParams, match="evil"):
        read_metadata(encoded(Image.new("RGB", (4, 4)), "PNG", pnginfo=chunks))


def test_previews_and_thumbnails_are_small() -> None:
    with Image.open(io.BytesIO(encode_preview(picture(0, 700)))) as preview:
        assert preview.format == "WEBP" and preview.size == (512, 512)
    with Image.open(io.BytesIO(encode_preview(picture(0, 64)))) as preview:
        assert preview.size == (64, 64)
    with Image.open(io.BytesIO(encode_thumbnail(Image.new("RGB", (1000, 10))))) as thumbnail:
        assert thumbnail.size == (256, 3)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int) -> bytes:
    """A few kB that unpack to width x height px."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not a picture in PNG, JPEG, HEIC, WebP, GIF, AVIF, TIFF or BMP"),
        (b"<svg onload=alert(1)>", "not a picture"),
        (b"%PDF-1.4", "not a picture"),
        (encoded(Image.new("RGB", (4, 4)), "ICO"), "not a picture"),
        (encoded(Image.new("RGB", (400, 400)), "BMP")[:300], "damaged"),
        (encoded(Image.new("RGB", (400, 400)), "TIFF")[:300], "damaged"),
        (encoded(Image.new("RGB", (400, 400)), "PNG")[:300], "damaged"),
        (encoded(Image.effect_noise((99, 99), 50), "JPEG")[:1500], "damaged"),
        (encoded(Image.effect_noise((99, 99), 50).convert("RGB"), "WEBP")[:900], "damaged|not a picture"),
        (png_claiming(7000, 6000), "7000 x 6000 px; at most 40 million px"),
        (png_claiming(12_000, 9_000), "at most 40 million px"),
        (png_claiming(60_000, 60_000), "at most 40 million px"),
        (png_claiming(5000, 5000), "damaged"),
        (bytes(11 * 2**20), r"has 11\.0 MB; at most 10 MB"),
    ],
)
def test_a_hostile_or_broken_upload_is_one_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(BadImage, match=sentence):
        decode_image(data)


def test_a_png_whose_text_unpacks_to_gigabytes_is_refused() -> None:
    bomb = chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(20_000_000), 9))
    good = encoded(Image.new("RGB", (4, 4)), "PNG")
    assert len(bomb) < 300_000
    with pytest.raises(BadImage):
        decode_image(good[:33] + bomb + good[33:])
    with pytest.raises(NoMetadata):
        read_metadata(good[:33] + bomb + good[33:])


def test_uploads_are_decoded_in_many_threads_at_once() -> None:
    good, results = encoded(Image.effect_noise((300, 300), 50).convert("RGB"), "PNG"), []

    def work() -> None:
        for data in (good, good[:200], good):
            try:
                results.append(decode_image(data).size)
            except BadImage:
                results.append((0, 0))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [(0, 0)] * 8 + [(300, 300)] * 16


def test_a_disk_that_takes_no_frame_costs_the_film_that_frame_and_never_the_picture(tmp_path: Path) -> None:
    recorder = recorded(tmp_path, 3)
    frames = tmp_path / "frames"
    frames.rename(tmp_path / "kept")
    frames.write_text("in the way")  # of root as well
    recorder.add(4, picture(4))
    assert isinstance(recorder.trouble, OSError)
    frames.unlink()
    (tmp_path / "kept").rename(frames)
    last = recorder.last()
    assert last is not None and np.array_equal(np.asarray(last), np.asarray(to_image(picture(4))))
    files = recorder.finish(mp4=False)
    with Image.open(io.BytesIO(files["png"])) as png:
        assert np.array_equal(np.asarray(png), np.asarray(to_image(picture(4))))
    assert away(timed(files["gif"])[-1][0], to_image(picture(4))) < 4


def test_a_film_that_cannot_be_made_leaves_the_picture_where_that_is_asked_for(tmp_path: Path) -> None:
    recorder = recorded(tmp_path, 3)
    (tmp_path / "frames/000002.png").write_bytes(b"half")
    said: list[str] = []
    files = recorder.finish(without=lambda kind, error: said.append(kind))
    assert set(files) == {"png", "thumbnail", "json"} and said == ["gif", "webp", "mp4"]
    with pytest.raises(Exception, match="cannot identify image file"):
        recorder.finish()
