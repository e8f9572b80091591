"""What the README and docs/ say is so: files exist, commands take the flags shown, tables are up to date."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import run_all

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
# Whose code blocks show commands; a table of the README does as well.
SHOWN = (
    "README.md",
    "docs/api.md",
    *sorted(f"docs/api/{p.name}" for p in ROOT.glob("docs/api/*.md")),
    "docs/operations.md",
)
COMMANDS = (
    "./scripts/start.sh",
    "python -m generator",
    "python -m generator.checkpoints",
    "python -m generator.upscaler",
    "python -m generator.paddlehub",
    "python -m generator.paddlehub run stable_diffusion",
    "python -m api",
    "python -m api key make",
    "python -m api.mcp",
    "python job_executor.py",
    "python scripts/benchmark_engine.py",
    "python scripts/benchmark_queue.py",
    "python scripts/measure_engines.py",
    "python scripts/export_evening.py",
    "python scripts/simulate_evening.py",
    "python scripts/stress_executor.py",
    "python scripts/chaos.py",
)


def commands() -> list[str]:
    """The command lines shown in code blocks and in tables, those that go on in a further line in one."""
    text = "\n".join((ROOT / page).read_text() for page in SHOWN)
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.S | re.M)
    shown = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines = [re.sub(r"^(\$ |[A-Z_0-9]+=\S* )*", "", line.split("  #")[0].strip()) for line in shown]
    return lines + re.findall(r"`((?:\./scripts/|python )[^`]+)`", README)


def test_every_link_and_picture_of_the_readme_is_there() -> None:
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)]+)\)", README) if not target.startswith("http")]
    assert targets
    assert not [target for target in targets if target and not (ROOT / target).exists()]


@pytest.mark.parametrize("page", sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md")))
def test_every_link_of_a_page_of_docs_is_there(page: str) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", (ROOT / page).read_text(), flags=re.S)
    targets = [t.split("#")[0] for t in re.findall(r"\]\(([^)]+)\)", text) if not t.startswith(("http", "#"))]
    assert not [target for target in targets if target and not ((ROOT / page).parent / target).exists()]


def flags_of(command: str) -> set[str]:
    """Those shown behind this command, but for those behind a subcommand that COMMANDS has of its own."""
    found: set[str] = set()
    for line in commands():
        for start in re.finditer(rf"(?:^|[\s/\"]){re.escape(command)}(?=\s|$)", line):
            rest = line[start.end() :]
            if not any(
                rest.startswith(other.removeprefix(command)) for other in COMMANDS if other.startswith(f"{command} ")
            ):
                found.update(re.findall(r"(?<![\w-])--[a-z][a-z_-]*", rest))
    return found


def test_every_flag_shown_is_one_the_command_takes() -> None:
    python = [command for command in COMMANDS if command.startswith("python ")]
    answers = dict(zip(python, run_all([[*command.split()[1:], "--help"] for command in python]), strict=True))
    for command in set(COMMANDS) - set(python):
        answers[command] = subprocess.run(["bash", command, "--help"], cwd=ROOT, capture_output=True, text=True)
    for command, answer in answers.items():
        assert answer.returncode == 0, (command, answer.stderr)
        unknown = {flag for flag in flags_of(command) if not re.search(rf"{flag}(?![\w-])", answer.stdout)}
        assert not unknown, (command, unknown)


def test_every_script_shown_exists() -> None:
    shown = {part for line in commands() for part in re.findall(r"(?:\./)?(scripts/[a-z_]+\.(?:sh|py))", line)}
    assert shown
    assert not [path for path in shown if not (ROOT / path).is_file()]


def test_the_tables_of_parameters_are_those_of_the_code() -> None:
    assert subprocess.run([sys.executable, "scripts/make_docs.py", "--check"], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("arguments", [["--port", "x"], ["--executors", "0"], ["--nonsense"], ["--port"]])
def test_a_wrong_option_of_start_is_answered_in_one_line(arguments: list[str]) -> None:
    answer = subprocess.run(["bash", "scripts/start.sh", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 2
    assert arguments[-1].lstrip("-") in answer.stderr or "needs a value" in answer.stderr


def test_the_tmux_launcher_says_what_to_install_where_tmux_is_missing(tmp_path: Path) -> None:
    (tmp_path / "dirname").symlink_to("/usr/bin/dirname")
    answer = subprocess.run(
        ["/bin/bash", "scripts/set_up_env.sh"], cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert answer.returncode == 1
    assert "install tmux" in answer.stderr


def test_every_file_and_folder_that_contributing_names_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = {*re.findall(r"`([\w./-]+/[\w./-]*)`", text), *re.findall(r"\]\(([^)#]+)\)", text)}
    paths = [path for path in named if not re.search(r"NAME|CODE", path)]
    assert paths
    assert not [path for path in paths if not (ROOT / path).exists()]
    rooms = re.search(r"```\nwebapp.*?```", text, re.S)
    assert rooms
    room = ""
    for line in rooms[0].splitlines()[1:-1]:
        nested = line.startswith(" ")
        for name in re.findall(
            r"([a-z0-9_]+/)(?= |$)", line[: line.index("   ", 2)] if nested else line.split("   ")[0]
        ):
            room = room if nested else name
            assert (ROOT / (room if nested else "") / name).is_dir(), name


@pytest.mark.parametrize(
    "page", ["README.md", "SECURITY.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))]
)
def test_no_page_says_the_same_twice(page: str) -> None:
    text = (ROOT / page).read_text()
    heads = re.findall(r"^#+ .*$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    paragraphs = [one for one in re.split(r"\n{2,}", text) if len(one) > 120]
    assert not [one for some in (heads, paragraphs) for one in set(some) if some.count(one) > 1]
