"""Bring pages/locale/*.po up to date with what pages show: new messages are added untranslated, unused ones dropped.

    python scripts/update_translations.py

Translate what is printed, by hand or with any editor of .po files; nothing has to be compiled.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from db.queue import statuses  # noqa: E402
from generator import registry  # noqa: E402
from pages.shared import po_file  # noqa: E402
from pages.shared.language import LANGUAGES, LOCALE  # noqa: E402
from studio.settings_form import OWN_WIDGET, Field, fields, run_fields  # noqa: E402

Message = tuple[str, ...]  # alone, or with its plural
# See characters/brief.py, db/errors.py, studio/errors.py, studio/datasets.py and wording/.
_ARGUMENTS = {"_": 1, "N_": 1, "ngettext": 2, "Term": 1, "Notice": 1}
_ARGUMENTS |= dict.fromkeys(("Refused", "BadWish", "BadData", "BadValue", "Busy"), 1)
_ARGUMENTS |= dict.fromkeys(("StillRunning", "StoreFull", "StoreUnavailable", "UnknownArtefact", "OverBudget"), 1)
_ROOMS = ("pages", "studio", "db", "generator/wording")
_SETTINGS, _STATUSES = "generator/params", "db/queue/statuses.py"
_HEADER = (
    ("Language", "{code}"),
    ("MIME-Version", "1.0"),
    ("Content-Type", "text/plain; charset=UTF-8"),
    ("Content-Transfer-Encoding", "8bit"),
    ("Plural-Forms", "nplurals=2; plural=(n != 1);"),
)


def messages() -> dict[Message, list[str]]:
    """Every message that a page can show, in the order of the files, and the files that have it."""
    found: dict[Message, list[str]] = {}
    rooms = [path for room in _ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    for path in [ROOT / "webapp.py", *rooms]:
        for message in _messages_of(path):
            files = found.setdefault(message, [])
            name = path.relative_to(ROOT).as_posix()
            if name not in files:
                files.append(name)
    for file, texts in ((_STATUSES, statuses.SENTENCES), (_SETTINGS, _of_settings())):
        for text in filter(None, texts):
            files = found.setdefault((text,), [])
            if file not in files:
                files.append(file)
    return found


def _of_settings() -> Iterator[str]:
    """What forms show of the settings as they are declared: headings of groups, labels, units and tips."""
    for engine in registry.drawing_engines():
        for checkpoint in registry.ENGINES[engine].checkpoints:
            for group, some in fields(engine, checkpoint, []).items():
                if group != "main":
                    yield group.capitalize()
                yield from _shown(one for one in some if one.name == "prompt" or one.name not in OWN_WIDGET)
    for engine, spec in registry.ENGINES.items():
        if spec.makes == "model":  # its groups have headings of their own
            yield from _shown(one for some in run_fields(engine).values() for one in some)


def _shown(some: Iterable[Field]) -> Iterator[str]:
    for one in some:
        yield from (one.title, one.unit, one.help)


def _messages_of(path: Path) -> list[Message]:
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    found = []
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        texts = [arg.value for arg in call.args[: _taken(path, call.func)] if isinstance(arg, ast.Constant)]
        if texts:  # else the message is marked where it is written
            found.append(tuple(str(text) for text in texts))
    return found


def _taken(path: Path, called: ast.expr) -> int:
    """How many of the arguments of such a call are messages."""
    if isinstance(called, ast.Attribute) and called.attr == "__init__" and path.name == "errors.py":
        return 2  # the sentence of an error that has its own class, behind `self` where a base is called by its name
    return _ARGUMENTS.get(called.id, 0) if isinstance(called, ast.Name) else 0


def written(code: str, found: dict[Message, list[str]], translated: dict[Message, tuple[str, ...]]) -> str:
    """The .po file of a language."""
    lines = ['msgid ""', 'msgstr ""']
    lines += [_quoted(f"{name}: {value.format(code=code)}\n") for name, value in _HEADER]
    for message, files in found.items():
        strings = translated.get(message, ("",) * len(message))
        lines += ["", f"#: {' '.join(files)}"]
        lines += [f"{key} {_quoted(text)}" for key, text in zip(("msgid", "msgid_plural"), message, strict=False)]
        if len(message) == 1:
            lines.append(f"msgstr {_quoted(strings[0])}")
        else:
            lines += [f"msgstr[{n}] {_quoted(text)}" for n, text in enumerate(strings)]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def main() -> None:
    found = messages()
    for code in LANGUAGES:
        path = LOCALE / f"{code}.po"
        if code == "en":
            continue  # the messages are English
        translated = po_file.entries(path) if path.exists() else {}
        path.write_text(written(code, found, translated), encoding="utf-8")
        missing = [message for message in found if not all(translated.get(message, ("",)))]
        print(f"{path.name}: {len(found)} messages, {len(missing)} to translate")
        for message in missing:
            print("  " + " / ".join(message))


if __name__ == "__main__":
    main()
