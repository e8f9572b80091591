"""A small file may be a large picture: what it takes in memory is known from its header, and bounded."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generator.images import decode
from generator.images.boxes import TooManyParts
from generator.images.cost import decoding_bytes
from generator.images.decode import BadImage, ReadersBusy, decode_image, decode_with_alpha, open_image
from generator.images.encode import texts_in
from generator.images.formats import FORMATS
from generator.images.hevc import coded_pixels
from generator.images.jpeg import held_coefficients
from generator.output.infotext import in_exif
from tests.heic_files import box, full, heic
from tests.picture_files import chunk, encoded, tiff

MB = 1_000_000
# Reads each picture in turn and prints by how much the greatest size of the process grew.
CHILD = """
import sys
from pathlib import Path
from generator.images.decode import BadImage, decode_image
import generator.images.colours

def of(name):
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith(name))

for path in sys.argv[1:]:
    data = Path(path).read_bytes()
    open("/proc/self/clear_refs", "w").write("5")
    before = of("VmRSS")
    try:
        size = decode_image(data, max_side=2048).size
    except BadImage as error:
        size = str(error)
    print(of("VmHWM") - before, size, sep="\\t")
"""


def bomb(colour_type: int = 6, depth: int = 8, width: int = 5000, height: int = 4000) -> bytes:
    """A PNG of one colour: some kB that are 20 million px."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    packed = zlib.compressobj(9)
    row = bytes(1 + width * channels * depth // 8)
    pixels = b"".join(packed.compress(row) for _ in range(height)) + packed.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.skipif(sys.platform != "linux", reason="the greatest size of a process is reset through /proc")
def test_reading_a_picture_takes_no_more_memory_than_its_pixels_and_what_is_kept_of_them(tmp_path: Path) -> None:
    flat = Image.new("RGB", (5000, 4000), (90, 120, 30))
    most = {  # file: MB that reading it may take; before, 300 and more
        "rgba.png": (bomb(), 130),
        "deep.png": (bomb(0, 16), 85),
        "photo.jpg": (encoded(flat, "JPEG"), 60),
        "flat.webp": (encoded(flat, "WEBP", method=0), 12),  # refused
        "film.gif": (encoded(flat.resize((4, 4)).quantize(2).resize(flat.size), "GIF"), 100),
    }
    for name, (data, _) in most.items():
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-c", CHILD, *(str(tmp_path / name) for name in most)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for (name, (_, bound)), line in zip(most.items(), done.stdout.splitlines(), strict=True):
        grown, told = line.split("\t")
        assert int(grown) < bound * MB, f"{name}: {int(grown) / MB:.0f} MB, {told}"
        assert told == "(2048, 1638)" or name == "flat.webp"


@pytest.mark.parametrize("name", ["WebP", "AVIF", "TIFF", "JPEG"])
def test_what_takes_more_than_its_share_is_refused_with_the_figures(name: str) -> None:
    kind = next(one for one in FORMATS if one.name == name)
    options = {"TIFF": {"compression": "tiff_adobe_deflate"}, "JPEG": {"progressive": True}, "AVIF": {"speed": 10}}
    data = encoded(Image.new("RGB", (900, 600)), kind.pillow, **options.get(name, {}))
    with pytest.raises(BadImage, match=f"Reading this {name} picture of 900 x 600 px takes [0-9]+ MB of memory; at mo"):
        decode_image(data, max_memory=1 * MB)
    assert decode_image(data).size == (900, 600)


def test_the_depth_and_the_channels_of_a_tiff_count() -> None:
    for bits, bytes_a_px in (((8,), 2), ((16,), 4), ((8, 8, 8), 7), ((16, 16, 16), 10)):
        data = tiff(8, bits, bytes(64), photometric=2 if len(bits) > 1 else 1)
        image, found = decode._opened(data, MB, MB)
        assert decoding_bytes(image, data, found) == 8 * bytes_a_px


def test_a_jpeg_in_scans_counts_its_coefficients_and_too_many_are_refused() -> None:
    image = Image.effect_noise((640, 480), 90).convert("RGB")
    plain, scans = encoded(image, "JPEG"), encoded(image, "JPEG", progressive=True, subsampling=0)
    assert held_coefficients(plain) == 0
    assert 640 * 480 * 6 <= held_coefficients(scans) < 640 * 480 * 6.2
    last = scans.rindex(b"\xff\xda")
    many = scans[:last] + scans[last:-2] * 200 + scans[-2:]
    with pytest.raises(TooManyParts, match=r"640 x 480 px comes in [0-9]+ scans"):
        held_coefficients(many)
    with pytest.raises(BadImage, match="scans; save it again"):
        decode_image(many)
    # What comes after the picture, as the film of a phone, is none of it.
    assert held_coefficients(plain + b"\xff\xda" * 5000) == 0


def test_a_large_photo_is_decoded_as_small_as_its_format_can() -> None:
    gradient = Image.linear_gradient("L").resize((4800, 3200)).convert("RGB")
    data = encoded(gradient, "JPEG", quality=95)
    small = decode_image(data, max_side=400, max_memory=2 * MB)  # 61 MB of pixels else
    assert small.size == (400, 267)
    whole = decode_image(data)
    whole.thumbnail((400, 400))
    assert np.abs(np.asarray(small, dtype=int) - np.asarray(whole, dtype=int)).mean() < 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_picture_made_smaller_in_bands_is_the_whole_one_made_smaller(mode: str) -> None:
    rng = np.random.default_rng(3)
    noise = Image.fromarray(rng.integers(0, 256, (90, 140, 4), dtype=np.uint8), "RGBA").resize((1400, 900))
    image = Image.fromarray(np.asarray(noise.convert("L")).astype(np.uint16) * 257) if mode == "I;16" else None
    image = image or (noise.convert("RGB").convert("P") if mode == "P" else noise.convert(mode))
    data = encoded(image, "TIFF" if mode == "CMYK" else "PNG")
    small, whole = decode_image(data, max_side=200), decode_image(data)
    assert small.size == (200, 129) and whole.size == (1400, 900)
    whole = whole.reduce(7)
    assert np.abs(np.asarray(small, dtype=int) - np.asarray(whole, dtype=int)).mean() < 3
    assert decode_with_alpha(data, max_side=200).mode == ("RGBA" if mode in ("LA", "RGBA") else "RGB")


def test_one_picture_is_decoded_at_a_time_and_waiting_for_it_ends_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = encoded(Image.new("RGB", (64, 64)), "PNG")
    at_work, most, guard = [0], [0], threading.Lock()
    converted = decode.in_srgb

    def watched(*args: object, **named: object) -> Image.Image:
        with guard:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        made = converted(*args, **named)  # type: ignore[arg-type]
        with guard:
            at_work[0] -= 1
        return made

    monkeypatch.setattr(decode, "in_srgb", watched)
    threads = [threading.Thread(target=decode_image, args=(data,)) for _ in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert most == [1]
    monkeypatch.setattr(decode, "MAX_WAIT_S", 0.01)
    with decode._one_at_a_time(), pytest.raises(ReadersBusy, match="read at this moment; try again in some seconds"):
        decode_image(data)
    assert decode_image(data).size == (64, 64)


def test_a_broken_picture_gives_its_turn_back() -> None:
    for _ in range(3):
        with pytest.raises(BadImage):
            decode_image(encoded(Image.effect_noise((64, 64), 9), "PNG")[:-300])
    assert decode_image(encoded(Image.new("RGB", (8, 8)), "PNG")).size == (8, 8)


def plan(kind: bytes, width: int, height: int) -> bytes:
    """A HEIC in which an item puts others together to a picture of this size; its boxes claim 64 x 32 px."""
    good = heic(bytes(64 * 32 * 3), 64, 32)
    size = struct.pack(">II", width, height)
    made = bytes([0, 1, 0, 0]) + size if kind == b"grid" else bytes([0, 1]) + bytes(8) + size
    infe = full(b"infe", struct.pack(">HH4s", 1, 0, kind), b"\0", version=2)
    iinf = full(b"iinf", struct.pack(">H", 1), infe)
    iloc = full(b"iloc", bytes([0x44, 0]), struct.pack(">HHHHHII", 1, 1, 1, 0, 1, 0, len(made)), version=1)
    return good + box(b"meta", bytes(4), iinf, iloc, box(b"idat", made))


def test_what_is_coded_in_a_heic_is_known_before_it_is_decoded_whatever_its_boxes_say() -> None:
    assert coded_pixels(heic(bytes(64 * 32 * 3), 64, 32, claimed=(16, 16))) == 64 * 32
    for kind in (b"grid", b"iovl"):
        assert coded_pixels(plan(kind, 20_000, 20_000)) == 400 * MB
    with pytest.raises(BadImage, match=r"px are coded in the picture|has 64 x 32 px"):
        decode_image(heic(bytes(64 * 32 * 3), 64, 32, claimed=(16, 16)), max_pixels=1000)


def test_headers_of_a_heic_are_looked_through_whatever_they_hold() -> None:
    good, random = heic(bytes(64 * 32 * 3), 64, 32), np.random.default_rng(2)
    for _ in range(300):
        bad = bytearray(good)
        for at in random.integers(0, len(bad), 4):
            bad[at] = int(random.integers(0, 256))
        try:
            assert coded_pixels(bytes(bad)) >= 0
        except TooManyParts:
            continue
    assert coded_pixels(b"") == coded_pixels(good[:60]) == 0


def test_what_is_written_in_a_picture_is_read_without_its_pixels() -> None:
    opened = open_image(bomb())
    assert (in_exif(opened), texts_in(opened)) == ("", {})
    assert opened.fp is not None, "Pillow closes its file once the pixels are there"
