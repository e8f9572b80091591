"""What the command line of a recipe sets: the README's commands, and defaults stated once."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from generator.training import command_line
from generator.training.run import WEIGHTS, Budget

ROOT = Path(__file__).parents[3]
COMMANDS = re.findall(r"^python -m generator\.training\.(.+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
NO_RECIPES = ("data", "scene_sheet", "wording")


class Parsed(Exception):
    """Recipe and folders of a command, instead of the run."""


def parse(command: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, command_line.Folders]:
    """What `python -m generator.training.<command>` runs with."""

    def stop(*args: Any, **settings: Any) -> None:
        raise Parsed(*command_line.command_line(*args, **settings))

    name, *flags = command.split()
    module = importlib.import_module(f"generator.training.{name}")
    monkeypatch.setattr(module, "command_line", stop)
    monkeypatch.setattr(sys, "argv", [name, *flags])
    with pytest.raises(Parsed) as found:
        module.main()
    recipe, folders = found.value.args
    return recipe, folders


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.split()[0] not in NO_RECIPES])
def test_a_command_of_the_readme_sets_what_it_says(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, folders = parse(command, monkeypatch)
    for name, value in re.findall(r"--(\S+) (\S+)", command):
        set_to = recipe.budget.minutes if name == "minutes" else getattr(recipe, name)
        assert str(set_to) == value or set_to == float(value)
    assert folders.data == Path("data/training") and folders.run == folders.data / "runs"


def test_a_scale_gives_its_own_defaults_and_flags_change_them(monkeypatch: pytest.MonkeyPatch) -> None:
    small, folders = parse("prior", monkeypatch)
    large, _ = parse("prior --scale gpu --minutes 5", monkeypatch)
    assert small.budget == Budget(minutes=20) and small.width == 256 and small.layout == folders.output == WEIGHTS
    assert large.budget == Budget(minutes=5) and large.width == 640


def test_a_run_may_be_counted_in_steps_and_kept_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, folders = parse("pixel_diffusion --steps 3 --minutes 9 --folder elsewhere --data other", monkeypatch)
    assert recipe.budget == Budget(steps=3)
    assert (folders.run, folders.shared) == (Path("elsewhere"), Path("other/runs"))


def test_an_unknown_role_is_refused_with_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module("generator.training.clip")
    monkeypatch.setattr(sys, "argv", ["clip", "--role", "painter"])
    with pytest.raises(SystemExit):
        module.main()
    assert "judge" in capsys.readouterr().err
