"""Pictures that people give, in every format and depth they have them in: each comes out as a viewer shows it."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from generator.images import decode, formats
from generator.images.av1 import coded_pixels
from generator.images.boxes import TooManyParts
from generator.images.decode import BadImage, as_decoded, decode_image, decode_with_alpha
from generator.images.formats import EXTENSIONS, FORMATS, recognised
from tests.heic_files import box, heic
from tests.picture_files import chunk, encoded, png, profile, tiff

RED = (200, 30, 30)
WIDE = [(200, 100, 50), (255, 0, 0), (20, 30, 220), (255, 255, 255), (0, 0, 0)]
WIDE_IN_SRGB = [(215, 93, 31), (255, 0, 0), (17, 31, 228), (255, 255, 255), (0, 0, 0)]  # CSS Color 4, of Display P3


def file_of(name: str, image: Image.Image, **options: Any) -> bytes:
    return heic(image.tobytes(), *image.size) if name == "HEIC" else encoded(image, pillow_name(name), **options)


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def pillow_name(name: str) -> str:
    return next(one.pillow for one in FORMATS if one.name == name)


def row(data: bytes) -> list[Any]:
    image = decode_image(data)
    assert image.mode == "RGB"
    return [image.getpixel((x, 0)) for x in range(image.width)]


def greys(data: bytes) -> list[int]:
    found = row(data)
    assert all(r == g == b for r, g, b in found)
    return [r for r, _, _ in found]


@pytest.mark.parametrize("name", [one.name for one in FORMATS])
def test_every_format_of_the_table_is_taken(name: str) -> None:
    data = file_of(name, Image.new("RGB", (32, 16), RED))
    image = decode_image(data)
    assert image.mode == "RGB" and image.size == (32, 16)
    assert np.abs(np.asarray(image, dtype=int) - RED).max() < 8
    found = recognised(data)
    assert found is not None and found.name == name


def test_one_list_names_the_formats_wherever_they_are_named() -> None:
    assert formats.NAMES == "PNG, JPEG, HEIC, WebP, GIF, AVIF, TIFF or BMP"
    with pytest.raises(BadImage, match=f"not a picture in {formats.NAMES} format"):
        decode_image(b"%PDF-1.4")
    assert {"png", "jpg", "jpeg", "tif", "tiff", "heic", "heif", "avif", "bmp"} <= {*EXTENSIONS}


def test_heic_without_its_reader_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(BadImage, match=r"HEIC picture, and pi-heif.* pip install pi-heif; or save as JPEG"):
        decode_image(file_of("HEIC", Image.new("RGB", (32, 16), RED)))


def test_avif_without_its_codec_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file_of("AVIF", Image.new("RGB", (32, 16), RED))
    monkeypatch.setattr(formats.features, "check", lambda name: False)
    with pytest.raises(BadImage, match="AVIF picture, and the Pillow installed here reads no AVIF"):
        decode_image(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(3, 16, 0, struct.pack(">3H", 0, 0x8000, 65535)), [0, 128, 255]),
        (png(3, 16, 0, struct.pack(">3H", 0, 100, 200)), [0, 0, 1]),
        (png(2, 16, 0, struct.pack(">2H", 255, 256)), [1, 1]),
        (tiff(2, (16,), struct.pack("<2H", 200, 0x8000)), [1, 128]),
        (tiff(2, (16,), struct.pack(">2H", 200, 0x8000), order=">"), [1, 128]),
        (tiff(2, (16,), struct.pack("<2H", 0, 65535), photometric=0), [255, 0]),
        (tiff(2, (12,), bytes([0xFF, 0xF0, 0x00])), [255, 0]),
        (tiff(2, (16,), struct.pack("<2h", -5, 32767), sample=2), [0, 255]),
        (tiff(2, (32,), struct.pack("<2I", 2**31, 2**32 - 1)), [128, 255]),
        (tiff(2, (32,), struct.pack(">2i", 2**30, -9), sample=2, order=">"), [128, 0]),
        (tiff(2, (32,), struct.pack("<2f", 0.5, 1), sample=3), [128, 255]),
        (tiff(2, (32,), struct.pack(">2f", 0.002, 1.3), sample=3, order=">"), [1, 255]),
        (tiff(2, (32,), struct.pack("<2f", 0, 1), sample=3, photometric=0), [255, 0]),
        (tiff(2, (32,), struct.pack("<2f", 51, 255), sample=3, tags={340: (11, (0,)), 341: (11, (255,))}), [51, 255]),
        (tiff(2, (1,), bytes([0b01000000])), [0, 255]),
        (png(2, 4, 0, bytes([0x08])), [0, 136]),
        (png(2, 16, 4, struct.pack(">4H", 40000, 65535, 40000, 0)), [156, 255]),
        (encoded(Image.new("LA", (1, 1), (100, 255)), "TIFF"), [100]),
    ],
)
def test_grey_of_any_depth_is_as_bright_as_the_file_says(data: bytes, expected: list[int]) -> None:
    assert greys(data) == expected


def test_sixteen_bits_of_colour_keep_their_brightness() -> None:
    assert row(png(1, 16, 2, struct.pack(">3H", 200, 0x8000, 65535))) == [(0, 128, 255)]
    assert row(tiff(1, (16, 16, 16), struct.pack(">3H", 200, 0x8000, 65535), photometric=2, order=">")) == [
        (0, 128, 255)
    ]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (tiff(1, (32,), struct.pack("<f", 255), sample=3), "numbers go up to 255, where 1 is white. Save it with 8 or"),
        (tiff(1, (32,), struct.pack("<f", float("nan")), sample=3), "numbers in it that are none"),
        (tiff(1, (32,), struct.pack("<i", 65535), sample=2), "up to 65535, where 2147483647 is white: it would be"),
        (tiff(1, (32, 32, 32), bytes(12), photometric=2, sample=3), "TIFF picture cannot be opened.* save it as PNG"),
    ],
)
def test_where_nothing_says_what_is_white_no_guess_is_made(data: bytes, sentence: str) -> None:
    with pytest.raises(BadImage, match=sentence):
        decode_image(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(2, 16, 0, struct.pack(">2H", 40000, 40001), chunk(b"tRNS", struct.pack(">H", 40000))), [255, 156]),
        (png(2, 8, 0, bytes([40, 41]), chunk(b"tRNS", struct.pack(">H", 40))), [255, 41]),
        (png(2, 4, 0, bytes([0x78]), chunk(b"tRNS", struct.pack(">H", 7))), [255, 136]),
        (png(2, 2, 0, bytes([0b01100000]), chunk(b"tRNS", struct.pack(">H", 1))), [255, 170]),
        (png(2, 1, 0, bytes([0b01000000]), chunk(b"tRNS", struct.pack(">H", 0))), [255, 255]),
        (
            png(
                2,
                16,
                2,
                struct.pack(">6H", *[40000] * 3, *[41000] * 3),
                chunk(b"tRNS", struct.pack(">3H", *[40000] * 3)),
            ),
            [255, 160],
        ),
        (png(2, 8, 3, bytes([0, 1]), chunk(b"PLTE", bytes([9] * 3 + [99] * 3)), chunk(b"tRNS", b"\0")), [255, 99]),
        (png(1, 8, 3, b"\0", chunk(b"PLTE", bytes(3)), chunk(b"tRNS", b"\x80")), [127]),
        (encoded(Image.new("LA", (1, 1), (0, 128)), "PNG"), [127]),
        (encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 128)), "TIFF"), [127]),
        (encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 0)), "WEBP", lossless=True), [255]),
    ],
)
def test_what_is_transparent_lies_on_white(data: bytes, expected: list[int]) -> None:
    assert greys(data) == expected


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WebP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_a_photo_held_sideways_stands_upright_in_every_format(name: str, orientation: int) -> None:
    image = Image.new("RGB", (64, 32), RED)
    image.paste((0, 0, 0), (0, 0, 32, 16))
    exif = image.getexif()
    exif[0x0112] = orientation
    found = decode_image(file_of(name, image, exif=exif))
    black = {3: (60, 28), 6: (28, 4)}[orientation]
    assert found.size == ((64, 32) if orientation == 3 else (32, 64))
    assert max(found.getpixel(black)) < 30 and found.getpixel((4, found.height - 4))[0] > 150  # type: ignore[arg-type, index]


def test_a_phones_heic_is_turned_as_its_box_says() -> None:
    image = Image.new("RGB", (64, 32), RED)
    found = decode_image(heic(image.tobytes(), 64, 32, box(b"irot", b"\1")))
    assert found.size == (32, 64)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of what it cannot read
@pytest.mark.parametrize(
    "directory", [b"\xff\xff\xff\xff" + bytes(9), b"\0\0\0\x08\0\1\x01\x12\0\2\0\0\0\4ab\0\0", b""]
)
def test_broken_exif_does_not_spoil_a_sound_photo(directory: bytes) -> None:
    data = encoded(Image.new("RGB", (16, 8), RED), "JPEG", exif=b"Exif\0\0MM\0*" + directory)
    assert decode_image(data).size == (16, 8)


@pytest.mark.parametrize("name", ["PNG", "WebP", "AVIF", "TIFF", "JPEG", "HEIC"])
def test_display_p3_as_phones_send_it_becomes_srgb(name: str) -> None:
    pixels = np.array(WIDE, np.uint8).repeat(32, axis=0)[None].repeat(16, axis=0)
    image, icc = Image.fromarray(pixels), profile()
    if name == "HEIC":
        data = heic(image.tobytes(), *image.size, colour=b"prof" + icc)
    else:
        exact = {"WebP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4", "speed": 10}}.get(
            name, {}
        )
        exact |= {"quality": 100, "subsampling": 0} if name == "JPEG" else {}
        data = file_of(name, image, icc_profile=icc, **exact)
    found = decode_image(data)
    for n, expected in enumerate(WIDE_IN_SRGB):
        assert np.abs(np.subtract(found.getpixel((32 * n + 16, 8)), expected)).max() <= 6, n  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["PNG", "HEIC", "AVIF"])
def test_wide_colours_named_by_code_points_become_srgb(name: str) -> None:
    pixels = np.array(WIDE, np.uint8).repeat(32, axis=0)[None].repeat(16, axis=0)
    image, code = Image.fromarray(pixels), struct.pack(">HHHB", 12, 13, 6, 0x80)
    if name == "PNG":
        data = png(len(WIDE), 8, 2, bytes(v for one in WIDE for v in one), chunk(b"cICP", bytes([12, 13, 0, 1])))
        assert np.abs(np.subtract(row(data), WIDE_IN_SRGB)).max() <= 1
        return
    if name == "HEIC":
        data = heic(image.tobytes(), *image.size, colour=b"nclx" + code)
    else:
        data = file_of(name, image, quality=100, subsampling="4:4:4", speed=10)
        at = data.index(b"nclx") + 4
        data = data[:at] + code[:4] + data[at + 4 :]
    found = decode_image(data)
    for n, expected in enumerate(WIDE_IN_SRGB):
        assert np.abs(np.subtract(found.getpixel((32 * n + 16, 8)), expected)).max() <= 4, n  # type: ignore[arg-type]


def test_high_dynamic_range_has_its_white_where_the_standard_says() -> None:
    """BT.2408: 203 cd/m2 is at 0.58 of PQ and at 0.75 of HLG."""
    for transfer, white in ((16, 148), (18, 191)):
        (found,) = greys(png(1, 8, 2, bytes([white] * 3), chunk(b"cICP", bytes([9, transfer, 0, 1]))))
        assert found >= 253
        (darker,) = greys(png(1, 8, 2, bytes([white // 2] * 3), chunk(b"cICP", bytes([9, transfer, 0, 1]))))
        assert 20 < darker < 160


def test_a_linear_png_is_as_bright_as_browsers_show_it() -> None:
    linear = chunk(b"gAMA", struct.pack(">I", 100_000))
    assert greys(png(1, 8, 0, b"\x37", linear)) == [128]
    assert greys(png(1, 16, 0, struct.pack(">H", 14147), linear)) == [128]
    assert greys(png(1, 8, 0, b"\x37", chunk(b"gAMA", struct.pack(">I", 45_455)))) == [55]
    assert greys(png(1, 8, 0, b"\x37", chunk(b"sRGB", b"\0"), linear)) == [55]


def test_grey_and_lab_come_by_their_profiles_too() -> None:
    assert greys(encoded(Image.new("L", (1, 1), 55), "PNG", icc_profile=profile(b"GRAY", gamma=1))) == [128]
    assert greys(encoded(Image.new("L", (1, 1), 55), "PNG", icc_profile=profile(gamma=1)))[0] in (127, 128, 129)
    (found,) = row(tiff(1, (8, 8, 8), bytes([136, 80, 67]), photometric=8))
    assert np.abs(np.subtract(found, (253, 2, 6))).max() < 8
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert row(encoded(Image.new("RGB", (1, 1), RED), "PNG", icc_profile=srgb)) == [RED]


def test_transparency_survives_a_profile() -> None:
    image = Image.new("RGBA", (2, 1), (*WIDE[0], 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    found = decode_with_alpha(encoded(image, "PNG", icc_profile=profile()))
    assert found.mode == "RGBA" and found.getpixel((1, 0))[3] == 0  # type: ignore[index]
    assert np.abs(np.subtract(found.getpixel((0, 0)), (*WIDE_IN_SRGB[0], 255))).max() <= 4  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "broken", [b"no profile", profile()[:200], bytes(3000), profile(b"GRAY", name="for another kind"), profile(b"CMYK")]
)
def test_a_broken_or_misplaced_profile_is_left_aside(broken: bytes) -> None:
    assert row(encoded(Image.new("RGB", (1, 1), RED), "PNG", icc_profile=broken)) == [RED]


def test_ink_becomes_light() -> None:
    photo = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for name in ("JPEG", "TIFF"):
        red, green, blue = row(file_of(name, photo))[0]
        assert red > 240 and max(green, blue) < 15
    (found, *_) = row(encoded(Image.new("YCbCr", (8, 8), (128, 128, 128)), "TIFF"))
    assert found == (128, 128, 128)


@pytest.mark.parametrize("name", ["PNG", "WebP", "GIF", "AVIF", "TIFF"])
def test_of_a_film_or_many_pages_the_first_is_taken(name: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, (0, 0, 200))]
    found = row(file_of(name, frames[0], save_all=True, append_images=frames[1:]))[0]
    assert np.abs(np.subtract(found, RED)).max() < 8


def huge(tile: bool) -> bytes:
    sides = {322: (4, (30_000,)), 323: (4, (30_000,)), 324: (4, (300,)), 325: (4, (100,))}
    data = {"tags": sides if tile else {256: (4, (60_000,)), 257: (4, (60_000,))}}
    return tiff(1, (8,), bytes(400), **data)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (heic(bytes(64 * 32 * 3), 64, 32, claimed=(7000, 6000)), "7000 x 6000 px; at most 40 million px"),
        (heic(bytes(64 * 32 * 3), 64, 32, claimed=(60_000, 60_000)), "at most 40 million px|damaged"),
        (heic(bytes(64 * 32 * 3), 64, 32, claimed=(16, 16)), "damaged"),
        (heic(bytes(64 * 32 * 3), 64, 32)[:300], "damaged|cannot be opened"),
        (huge(tile=False), "at most 40 million px"),
        (huge(tile=True), "tiles of 30000 x 30000 px; too large"),
        (b"\0\0\0\x18ftypavif\0\0\0\0" + bytes(60), "AVIF picture cannot be opened"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0" + bytes(60), "not a picture in PNG"),
        (b"BM, as a letter may begin", "BMP picture cannot be opened|damaged"),
        (b"II*\0" + b"\xff" * 40, "TIFF picture cannot be opened|damaged"),
    ],
)
def test_nothing_is_decoded_before_it_is_known_to_be_permitted(data: bytes, sentence: str) -> None:
    with pytest.raises(BadImage, match=sentence):
        decode_image(data)


@pytest.mark.parametrize("more", [{}, {"save_all": True}, {"exif": exif_of(3)}])
def test_an_avif_that_codes_more_than_it_says_is_refused(more: dict[str, Any]) -> None:
    """The box says 16 x 16 px; the decoder would make room for what is coded."""
    frames = [Image.new("RGB", (96, 64), RED), Image.new("RGB", (96, 64))]
    more = {**more, "append_images": frames[1:]} if "save_all" in more else more
    data = file_of("AVIF", frames[0], speed=10, **more)
    assert coded_pixels(data) == 96 * 64
    size = b"ispe" + bytes(4) + struct.pack(">II", 96, 64)
    claims = data.replace(size, size[:8] + struct.pack(">II", 16, 16))
    assert claims != data
    with pytest.raises(BadImage, match=r"px are coded in the picture|has 96 x 64 px"):
        decode_image(claims, max_pixels=1000)
    assert decode_image(data).size == (96, 64)


def test_headers_of_coded_pictures_are_looked_through_whatever_they_hold() -> None:
    good = file_of("AVIF", Image.new("RGB", (96, 64), RED), speed=10)
    random = np.random.default_rng(1)
    for _ in range(300):
        bad = bytearray(good)
        for at in random.integers(0, len(bad), 4):
            bad[at] = int(random.integers(0, 256))
        with suppress(TooManyParts):
            assert coded_pixels(bytes(bad)) >= 0
        with suppress(BadImage):
            decode_image(bytes(bad))
    assert coded_pixels(b"") == coded_pixels(good[:60]) == 0


def test_a_picture_in_memory_is_read_as_its_file_is(tmp_path: Any) -> None:
    image = Image.new("RGB", (40, 20), WIDE[0])
    exif = image.getexif()
    exif[0x0112] = 6
    path = tmp_path / "phone.png"
    path.write_bytes(encoded(image, "PNG", icc_profile=profile(), exif=exif))
    with Image.open(path) as opened:
        assert as_decoded(opened).tobytes() == decode_image(path.read_bytes()).tobytes()
    deep = tmp_path / "deep.tif"
    deep.write_bytes(tiff(2, (32,), struct.pack("<2I", 2**31, 2**32 - 1)))
    with Image.open(deep) as opened:
        assert as_decoded(opened).getpixel((0, 0)) == (128, 128, 128)
    with pytest.raises(BadImage, match="mode I does not say what is white; convert it to I;16 or L"):
        as_decoded(Image.new("I", (4, 4), 200))
    assert as_decoded(Image.new("I;16", (1, 1), 200)).getpixel((0, 0)) == (1, 1, 1)
    assert decode.MAX_PIXELS == 40_000_000


def test_documents_name_the_formats_of_the_table() -> None:
    root = Path(__file__).resolve().parents[2]
    for page in ("README.md", "docs/pictures.md"):
        assert formats.NAMES in " ".join((root / page).read_text().replace("**", "").split()), page
