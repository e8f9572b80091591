"""Pictures are signed with the studio's own key where the host wants it, and none is lost to that."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from db import artefacts
from executor import signing_key
from executor.outputs import Files
from executor.provenance import MADE_WITH_MODEL, Provenance, set_up
from executor.signing_key import KeyUnusable, key_of
from generator.output.metadata import encode_png, read_licence, read_metadata
from generator.output.sources import NONE
from generator.params import validate
from generator.version import NAME, VERSION
from settings import Settings
from tests.executor_studio import Studio

needs_c2pa = pytest.mark.skipif(
    importlib.util.find_spec("c2pa") is None, reason="c2pa-python is not installed (requirements-c2pa.txt)"
)
HEART = validate("vqgan-clip", {"prompt": "a red heart", "seed": 7})
PNG = encode_png(Image.new("RGB", HEART.actual_size, "red"), "vqgan-clip", HEART, licence="CC BY 4.0")
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def said_in(data: bytes) -> tuple[str, dict[str, Any]]:
    """Whether what the picture says of itself holds, and what that is, as C2PA's own library reads it."""
    import c2pa

    with c2pa.Reader("image/png", io.BytesIO(data)) as reader:
        told = json.loads(reader.json())
        return str(reader.get_validation_state()), told["manifests"][told["active_manifest"]]


def origin(manifest: dict[str, Any]) -> str:
    (actions,) = (one["data"]["actions"] for one in manifest["assertions"] if one["label"].startswith("c2pa.actions"))
    assert [action["action"] for action in actions] == ["c2pa.created"]
    return str(actions[0]["digitalSourceType"]).removeprefix(SOURCE)


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "c2pa.pem"
    with ThreadPoolExecutor(4) as pool:  # executors that start together
        keys = set(pool.map(lambda _: key_of(path), range(4)))
    assert keys == {key_of(path)} and path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["c2pa.pem"]
    own, authority = x509.load_pem_x509_certificates(keys.pop().chain)
    own.verify_directly_issued_by(authority)
    assert authority.public_key() != own.public_key(), "nobody can issue another one: that key is gone"


def test_a_key_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    path, pem = tmp_path / "own.pem", serialization.Encoding.PEM
    mine, other = signing_key.made(), signing_key.made()
    kind = serialization.PrivateFormat.PKCS8
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        pem, kind, serialization.BestAvailableEncryption(b"password")
    )
    unknown = ec.generate_private_key(ec.SECP256K1()).private_bytes(pem, kind, serialization.NoEncryption())
    chain = mine[mine.index(b"-----BEGIN CERT") :]
    der = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.DER, kind, serialization.NoEncryption()
    )
    curve = bytes.fromhex("06082a8648ce3d0301")  # prime256v1 is the 7th of these, prime239v1 the 4th
    strange = base64.encodebytes(der.replace(curve + b"\7", curve + b"\4"))
    for data, says in (
        (b"-----BEGIN PRIVATE KEY-----\n%s-----END PRIVATE KEY-----\n" % strange + chain, "cannot be read"),
        (b"no key", "private key without a password"),
        (locked + chain, "private key without a password"),
        (unknown + chain, "P-256, RSA and Ed25519"),
        (other[: other.index(b"-----BEGIN CERT")] + chain, "not that of its key"),
    ):
        path.write_bytes(data)
        with pytest.raises(KeyUnusable, match=says):
            key_of(path)


def test_the_key_is_also_made_on_a_disk_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", none)
    path = tmp_path / "c2pa.pem"
    assert key_of(path) == key_of(path) and [one.name for one in tmp_path.iterdir()] == ["c2pa.pem"]


def test_a_package_whose_library_is_for_another_machine_ends_no_executor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "c2pa.py").write_text("raise RuntimeError('Could not find libc2pa_c.so')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "c2pa", raising=False)
    settings = Settings(c2pa=True, c2pa_key=tmp_path / "c2pa.pem")
    assert set_up(settings, logging.getLogger("test_provenance")) is None
    assert "libc2pa_c.so" in str(caplog.records[0].__dict__["fields"])


def test_without_the_package_the_log_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    log = logging.getLogger("test_provenance")
    assert set_up(Settings(), log) is None and not caplog.records
    assert set_up(Settings(c2pa=True, c2pa_key=tmp_path / "c2pa.pem"), log) is None
    assert "requirements-c2pa.txt" in str(caplog.records[0].__dict__["fields"])


def test_what_a_mask_keeps_is_not_said_to_be_a_models(tmp_path: Path) -> None:
    for values, keeps in (
        ({}, False),
        ({"init_image": "a.png"}, False),
        ({"init_image": "a.png", "mask_image": "m.png"}, True),
    ):
        params = validate("vqgan-clip", {"prompt": "x", **values})
        assert Files("vqgan-clip", params, NONE, tmp_path, lambda key: b"").keeps_given == keeps


@needs_c2pa
def test_a_signed_picture_says_that_it_is_made_with_ai_and_where(tmp_path: Path) -> None:
    signed = Provenance(tmp_path / "c2pa.pem").signed(PNG)
    state, manifest = said_in(signed)
    assert state == "Valid" and origin(manifest) == "trainedAlgorithmicMedia"
    (generator,) = manifest["claim_generator_info"]
    assert (generator["name"], generator["version"]) == (NAME, VERSION)
    assert manifest["signature_info"]["common_name"] == NAME
    assert read_metadata(signed) == ("vqgan-clip", HEART) and read_licence(signed) == "CC BY 4.0"
    with Image.open(io.BytesIO(signed)) as after, Image.open(io.BytesIO(PNG)) as before:
        assert after.tobytes() == before.tobytes() and after.info == before.info
    both = said_in(Provenance(tmp_path / "c2pa.pem").signed(PNG, MADE_WITH_MODEL))
    assert both[0] == "Valid" and origin(both[1]) == "compositeWithTrainedAlgorithmicMedia"
    changed = signed.replace(b"a red heart", b"a red horse")
    assert changed != signed and said_in(changed)[0] == "Invalid"


@needs_c2pa
@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_a_key_of_ones_own_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, curve: ec.EllipticCurve) -> None:
    monkeypatch.setattr(ec, "SECP256R1", lambda: curve)
    (tmp_path / "own.pem").write_bytes(signing_key.made())
    assert said_in(Provenance(tmp_path / "own.pem").signed(PNG))[0] == "Valid"


@needs_c2pa
def test_executors_sign_and_lose_no_picture_where_they_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, unfit = tmp_path / "c2pa.pem", tmp_path / "unfit.pem"
    monkeypatch.setattr(signing_key, "LASTS", -signing_key.LASTS / 5000)  # over by now
    unfit.write_bytes(signing_key.made())
    for key, works in ((own, True), (unfit, False)):
        studio = Studio(tmp_path / str(works), c2pa=True, c2pa_key=key, picture_licence="CC BY 4.0")
        studio.folder.mkdir(exist_ok=True)
        try:
            studio.executor("--once")
            (job,) = studio.ended(studio.add("a red heart", steps=2))
            picture = studio.store.get(artefacts.of_job(studio.db, job.id)["picture"].key)
            assert job.state == "succeeded" and read_licence(picture) == "CC BY 4.0"
            assert (b"caBX" in picture) == works == (studio.said("picture_not_signed") == 0)
            assert not works or (said_in(picture)[0] == "Valid" and own.stat().st_mode & 0o777 == 0o600)
        finally:
            studio.close()
