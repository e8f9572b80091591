"""The host's word lists: `animal.txt` in a folder, `animals/dogs.txt` in one within it. One line is one choice.

Lines that begin with # and empty ones are left out. A name is looked up among the files that are there, so that none
leads out of the folder.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from generator.params import BadParams

MAX_FILES = 2000
MAX_BYTES = 4 * 1024 * 1024
MAX_NAMED = 30  # in a message


class WordLists:
    """Those of a folder, which need not be there; it is looked into when it is first asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _files(self) -> dict[str, Path]:
        found = {}
        try:
            for path in sorted(self._folder.rglob("*.txt"))[:MAX_FILES]:
                if path.is_file():
                    found[_key(path.relative_to(self._folder).with_suffix("").as_posix())] = path
        except OSError:
            return {}
        return found

    @property
    def names(self) -> list[str]:
        """Of all lists, as they are written between underscores."""
        return [path.relative_to(self._folder).with_suffix("").as_posix() for path in self._files.values()]

    def knows(self, name: str) -> bool:
        """Whether there is such a list, in capitals or not."""
        return _key(name) in self._files

    def lines(self, name: str) -> list[str]:
        """The choices of a list. Raises BadParams where there is none of that name, or it cannot be read."""
        path = self._files.get(_key(name))
        if path is None:
            known = self.names
            more = f" and {len(known) - MAX_NAMED} more" if len(known) > MAX_NAMED else ""
            raise BadParams(
                f"Unknown word list {name[:80]!r}. There are: {', '.join(known[:MAX_NAMED])}{more}. "
                rf"To have it read as it is written, begin it with \_ for _."
            )
        try:
            with path.open("rb") as file:
                text = file.read(MAX_BYTES).decode("utf-8-sig", errors="replace")
        except OSError as error:
            raise BadParams(f"The word list {name!r} cannot be read: {error.strerror}.") from None
        lines = [" ".join(line.split()) for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        if not lines:
            raise BadParams(f"The word list {name!r} is empty; it needs a line for each choice.")
        return lines


def _key(name: str) -> str:
    return name.strip().casefold()
