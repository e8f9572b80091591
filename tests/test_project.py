"""What strangers rely on agrees with the code: one version, locks that cover the requirements, containers, licences."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from generator.output.metadata import settings_of
from generator.params.vqgan_clip import VqganClipParams
from generator.version import NAME, VERSION
from settings import Settings
from tests.commands import run_all

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
CUDA = yaml.safe_load((ROOT / "compose.cuda.yaml").read_text())
STAGES = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
PYTORCH = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")


def requirements(*files: str) -> list[Requirement]:
    """What the files ask for."""
    lines = [line.split("#")[0].strip() for file in files for line in (ROOT / file).read_text().splitlines()]
    return [Requirement(line) for line in lines if line]


def locked(file: str) -> dict[str, tuple[str, int]]:
    """Version and number of hashes by package."""
    found = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / file).read_text().strip()):
        if not entry.startswith("#"):
            name, _, version = entry.split()[0].partition("==")
            found[name] = (version, len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry)))
    return found


def test_there_is_one_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    made = settings_of("vqgan-clip", VqganClipParams(prompt="a red heart", seed=1), (64, 64))
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "generator.version.VERSION"}
    assert PROJECT["project"]["name"] == NAME
    assert citation["version"] == made["versions"]["studio"] == VERSION
    assert f"Version {VERSION} " in (ROOT / "README.md").read_text()
    assert f"## [{VERSION}] - " in (ROOT / "CHANGELOG.md").read_text()


def test_a_command_says_its_version() -> None:
    for answer in run_all([["-m", "generator", "--version"], ["job_executor.py", "--version"]]):
        assert (answer.returncode, answer.stdout) == (0, f"{NAME} {VERSION}\n")


def test_the_lock_has_every_requirement_in_a_version_it_permits_with_hashes() -> None:
    lock = locked("requirements.lock")
    for wanted in requirements("requirements.txt", "requirements-server.txt"):
        version, _ = lock[wanted.name]
        assert wanted.specifier.contains(version), f"{wanted}: run ./scripts/lock.sh"
    assert all(hashes for _, hashes in lock.values())


def test_the_web_apps_lock_is_the_same_without_pytorch() -> None:
    everything = locked("requirements.lock")
    assert locked("requirements-web.lock") == {k: v for k, v in everything.items() if not PYTORCH.fullmatch(k)}


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-web.lock"])
def test_a_lock_names_no_host_and_no_path(file: str) -> None:
    assert not re.search(r"://|^-|file:|@ ", (ROOT / file).read_text(), re.M)


def test_the_containers_are_set_by_variables_that_there_are() -> None:
    known = {f"T2I_{name.upper()}" for name in Settings.model_fields}
    used = {name for service in COMPOSE["services"].values() for name in service["environment"]}
    assert {"T2I_DATABASE_URL", "T2I_STORE_URL"} <= used
    assert {name for name in used if name.startswith("T2I_")} <= known


def test_the_containers_are_built_from_stages_that_there_are() -> None:
    services = [*COMPOSE["services"].values(), *CUDA["services"].values()]
    assert {service["build"]["target"] for service in services if "build" in service} == {"web", "cpu", "cuda"}
    assert {"web", "cpu", "cuda"} <= set(STAGES)


def test_only_the_web_app_is_open_and_database_and_store_are_waited_for() -> None:
    services = COMPOSE["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["web"]
    for name in ("web", "executor"):
        waited = services[name]["depends_on"]
        assert all(waited[other] == {"condition": "service_healthy"} for other in ("database", "store"))
        assert all("healthcheck" in services[other] for other in waited)


def test_no_password_is_written_down() -> None:
    secret = [
        value
        for service in COMPOSE["services"].values()
        for name, value in service["environment"].items()
        if "PASSWORD" in name or "SECRET" in name
    ]
    assert secret and all(value is None or (value.startswith("${") and ":-" not in value) for value in secret)


@pytest.mark.parametrize("card", sorted(ROOT.glob("generator/weights/*.md")), ids=lambda path: path.stem)
def test_a_card_says_its_licence_and_the_notice_whom_to_name(card: Path) -> None:
    text, notice = card.read_text(), (ROOT / "NOTICE").read_text()
    assert "The weights are under Apache-2.0" in text
    for owner in re.findall(r"\| ([^|]+) \|$", text.partition("## Data and licences")[2], re.M):
        assert owner == "attribution" or owner.split(",")[0].split(" and ")[0] in notice


def test_every_embedded_model_has_a_card() -> None:
    weights, cards = (sorted(p.stem for p in ROOT.glob(f"generator/weights/*{end}")) for end in (".safetensors", ".md"))
    assert weights and weights == cards
