"""Captioned pictures are read alike wherever they lie; what cannot be read is one sentence, and nothing is lost."""

from __future__ import annotations

import io
import itertools
import json
import pickle
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from generator.learning.stream.archive import write_archive
from generator.learning.stream.contact_sheet import contact_sheet
from generator.learning.stream.opening import open_source, open_stream
from generator.learning.stream.report import inspect
from generator.learning.stream.samples import DataProblem, Sample, Split, is_validation
from generator.learning.stream.sources import SourceStream, order
from tests.captioned_files import caption, captioned, picture, write_folder, write_tar, write_zip


def _parquet(folder: Path, count: int) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"image": {"bytes": picture(n), "path": None}, "text": caption(n)} for n in range(count)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet", row_group_size=7)
    return folder / "train-00000-of-00001.parquet"


def _datasets(folder: Path, count: int) -> Path:
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    rows = {"image": [{"bytes": picture(n), "path": None} for n in range(count)], "text": [*map(caption, range(count))]}
    features = Features({"image": ImageFeature(), "text": Value("string")})
    Dataset.from_dict(rows, features=features).save_to_disk(str(folder / "saved"))
    return folder / "saved"


def _shards(folder: Path, count: int) -> str:
    write_tar(folder / "a-000.tar", range(count // 2))
    write_tar(folder / "a-001.tar", range(count // 2, count))
    return str(folder / "a-*.tar")


KINDS: dict[str, Callable[[Path, int], Path | str]] = {
    "folder with metadata.jsonl": lambda folder, n: write_folder(folder / "x", n),
    "folder with metadata.csv": lambda folder, n: write_folder(folder / "x", n, captions="metadata.csv"),
    "folder with texts beside": lambda folder, n: write_folder(folder / "x", n, captions="txt"),
    "zip": lambda folder, n: write_zip(folder / "x.zip", n),
    "parquet": _parquet,
    "tar": _shards,
    "datasets": _datasets,
}


def _all(where: Path | str, split: Split, share: float, **more: int) -> list[Sample]:
    stream = open_stream(where, validation_share=share)
    try:
        assert isinstance(stream, SourceStream)
        return list(itertools.islice(stream.samples(split, **more), stream.count(split)))
    finally:
        stream.close()


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_and_captions_come_whole_and_split_from_every_kind_of_source(kind: str, tmp_path: Path) -> None:
    where = KINDS[kind](tmp_path, 30)
    train, validation = _all(where, "train", 0.2), _all(where, "validation", 0.2)
    assert validation and not {one.id for one in train} & {one.id for one in validation}
    pairs = {(one.caption, one.image) for one in [*train, *validation]}
    assert pairs == {(text, data) for text, data in captioned(30).values()}
    assert all(is_validation(one.id, 0.2) for one in validation)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_the_same_in_every_reading(kind: str, tmp_path: Path) -> None:
    where = KINDS[kind](tmp_path, 12)
    first, second = ({one.id: one.caption for one in _all(where, "train", 0, seed=s)} for s in (0, 1))
    assert first == second and len(first) == 12


def test_a_run_that_is_resumed_sees_what_it_would_have_seen(tmp_path: Path) -> None:
    stream = open_stream(write_folder(tmp_path / "x", 20), validation_share=0.1)
    whole = [one.id for one in itertools.islice(stream.samples("train", seed=3), 100)]
    for start in (0, 1, 17, 18, 19, 55):
        assert [one.id for one in itertools.islice(stream.samples("train", start=start, seed=3), 40)] == (
            whole[start : start + 40]
        )
    epoch = len({*whole})
    assert sorted(whole[:epoch]) == sorted(whole[epoch : 2 * epoch]) and whole[:epoch] != whole[epoch : 2 * epoch]
    assert whole[:epoch] != [one.id for one in itertools.islice(stream.samples("train", seed=4), epoch)]


def test_few_pictures_are_measured_on_as_well_where_chance_would_keep_none(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "discs", 40)
    by_chance = [one.id for one in _all(folder, "validation", 0.1)]
    rest = open_stream(folder, validation_share=0.1, left_out=by_chance)
    kept = [one.id for one in rest.samples("validation")]
    assert len(kept) == 1 and not {*kept} & {*by_chance}
    trained = {one.id for one in itertools.islice(rest.samples("train"), 80)}
    assert trained.isdisjoint(kept) and len(trained) == 39 - len(by_chance)


def test_the_order_is_the_same_on_every_machine(tmp_path: Path) -> None:
    """A run may be resumed elsewhere, with another numpy: these numbers must never change."""
    assert order(10, 0, 0).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]
    assert order(10, 7, 2).tolist() == [8, 6, 4, 0, 5, 7, 1, 3, 9, 2]


def test_what_cannot_be_learnt_from_is_left_out_and_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x", 10)
    (folder / "alone.png").write_bytes(picture(1))
    (folder / "long.png").write_bytes(picture(2))
    (folder / "long.txt").write_text("word " * 2000)
    (folder / "broken.png").write_bytes(picture(3)[:60])
    (folder / "broken.txt").write_text("cut short")
    (folder / "again.png").write_bytes(picture(4))
    (folder / "again.txt").write_text(" ".join(["many"] * 80))
    with (folder / "metadata.jsonl").open("a") as file:
        file.write('{"file_name": "gone.png", "text": "not there"}\n')
    report = inspect(folder)
    found = {one.kind: one for one in report.problems}
    assert report.trainable and report.samples == 12 and report.unreadable == ("broken.png",)
    assert found["no caption"].examples[0][0] == "alone.png"
    assert found["long caption"].examples[0] == (
        "long.png",
        "Its caption has 9,999 characters; at most 8,000 are read.",
    )
    assert found["missing file"].examples[0][0] == "gone.png"
    assert found["duplicate picture"].examples[0][0] in ("again.png", "disc-0004.png")
    assert found["caption longer than models read"].count == 1
    assert found["unreadable picture"].unusable and not found["duplicate picture"].unusable
    assert json.loads(json.dumps(report.as_json()))["formats"] == {"PNG": 11}
    assert any("broken.png" in line for line in report.lines())
    stream = open_stream(folder, validation_share=0, left_out=report.unreadable)
    assert stream.length == 11 and "broken.png" not in {one.id for one in itertools.islice(stream.samples("train"), 22)}


def test_a_sheet_shows_pictures_of_the_data(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x", 10)
    (folder / "disc-0003.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    sheet = Image.open(io.BytesIO(contact_sheet(open_source(folder), count=6, side=48)))
    assert sheet.format == "PNG" and sheet.size == (3 * 50 + 2, 2 * 50 + 2)
    assert len(sheet.getcolors(10_000) or ()) > 6


@pytest.mark.parametrize("side", [16, 40, 96])
def test_a_sheet_shows_tiny_pictures_as_large_as_its_cells(side: int, tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(picture(number, side=side))
        (tmp_path / f"{number}.txt").write_text(caption(number))
    sheet = Image.open(io.BytesIO(contact_sheet(open_source(tmp_path), count=6, side=96)))
    cell = sheet.crop((4, 4, 100, 100))
    assert cell.getpixel((1, 1)) == cell.getpixel((94, 94)) == (204, 204, 204), "the grey ground fills the cell"
    if side == 16:
        assert len(cell.getcolors() or ()) == 2, "pixels are shown as pixels"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda f: f, "holds no pictures"),
        (lambda f: f / "gone", "nothing at"),
        (lambda f: write_folder(f / "three", 3), "holds 3 captioned pictures; at least 5 are needed"),
        (lambda f: write_folder(f / "bare", 8, captions="none"), "None of the 8 pictures"),
        (lambda f: _write(f / "x.zip", b"PK\3\4 no zip"), "not a zip archive"),
        (lambda f: _write(f / "x.parquet", b"PAR1 no"), "not a parquet file"),
        (lambda f: _write(f / "x.tar.gz", b"\x1f\x8b"), "compressed tar"),
        (lambda f: _write(f / "x.tar", b"no tar" * 200), "not a tar file"),
        (lambda f: _write(f / "x.pkl", pickle.dumps({})), "none of what can be read"),
        (lambda f: _folder_listing(f / "x", "../secret.png"), "no name of a file below its folder"),
        (lambda f: _folder_listing(f / "x", "/etc/passwd"), "no name of a file below its folder"),
    ],
)
def test_data_that_are_none_are_one_sentence(made: Callable[[Path], Path], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match=said) as raised:
        open_stream(made(tmp_path), validation_share=0.1)
    assert "\n" not in str(raised.value)
    report = inspect(made(tmp_path))
    assert not report.trainable and report.reason


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(share: float, tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match="at least 0 and below 1"):
        open_stream(write_folder(tmp_path / "x", 6), validation_share=share)


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _folder_listing(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    _write(folder / "a.png", picture(1))
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": name, "text": "x"}))
    return folder


def _link(archive: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("link.png")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(entry, "/etc/passwd")


HOSTILE: dict[str, tuple[Callable[[zipfile.ZipFile], None], str]] = {
    "leaves its folder": (lambda z: z.writestr("../evil.png", picture(1)), "no path below its folder"),
    "begins at the root": (lambda z: z.writestr("/evil.png", picture(1)), "no path below its folder"),
    "leaves it as on Windows": (lambda z: z.writestr("a\\..\\..\\evil.png", picture(1)), "no path below its folder"),
    "holds a link": (_link, "is a link"),
    "unpacks to gigabytes": (
        lambda z: [z.writestr(f"{n}.bmp", bytes(9 << 20), zipfile.ZIP_DEFLATED) for n in range(4)] and None,
        "pictures shrink at most 100 times",
    ),
    "is packed unusually": (lambda z: z.writestr("x.png", picture(1), zipfile.ZIP_LZMA), "ordinary zip"),
}


@pytest.mark.parametrize("deed", HOSTILE)
def test_a_hostile_zip_is_refused_before_anything_is_read(deed: str, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", 8)
    with zipfile.ZipFile(path, "a") as archive:
        HOSTILE[deed][0](archive)
    with pytest.raises(DataProblem, match=HOSTILE[deed][1]):
        open_stream(path, validation_share=0)
    assert {one.name for one in tmp_path.iterdir()} == {"x.zip"}


def test_links_in_a_shard_are_passed_over_and_named(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", range(6))
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("evil.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    report = inspect(path)
    assert report.samples == 6 and [one.kind for one in report.problems] == ["link"]


def test_what_is_written_as_a_zip_is_read_again(tmp_path: Path) -> None:
    samples = [Sample(name, text, data) for name, (text, data) in captioned(6).items()]
    assert write_archive(tmp_path / "x.zip", samples) == 6
    first = (tmp_path / "x.zip").read_bytes()
    write_archive(tmp_path / "x.zip", samples)
    assert (tmp_path / "x.zip").read_bytes() == first
    assert sorted(_all(tmp_path / "x.zip", "train", 0), key=lambda one: one.id) == samples
    with pytest.raises(DataProblem, match="no name of a file"):
        write_archive(tmp_path / "y.zip", [Sample("../x.png", "x", b"")])


def test_a_caption_may_be_of_any_alphabet_and_a_picture_in_a_folder_below(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x", 6)
    (folder / "sub").mkdir()
    _write(folder / "sub" / "emoji 😀.jpg", picture(1, kind="JPEG"))
    (folder / "sub" / "metadata.csv").write_text('\ufefffile_name,text\nemoji 😀.jpg,"猫, и ""кот"""\n', "utf-8")
    found = {one.id: one.caption for one in _all(folder, "train", 0)}
    assert found["sub/emoji 😀.jpg"] == '猫, и "кот"'
