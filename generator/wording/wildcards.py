"""Choices in a prompt: `{red|blue} car`, and `__animal__` for a line of the host's animal.txt (as Dynamic Prompts).

Drawn by a generator that is seeded with the picture's seed and nothing else: the same seed draws the same.
"""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, islice, product

from generator.params import BadParams
from generator.prompts.signs import braces_in, cut, hide, written
from generator.wording.reading import Notice, Reading, Sources
from generator.wording.word_lists import WordLists

MAX_DEPTH = 12  # of lists that name lists
MAX_NESTED = 60  # braces in braces, those of lists among them
MAX_DRAWN = 200  # choices of one text
MAX_READ = 5000  # texts within texts, where all that may be drawn is told
MAX_LENGTH = 20_000  # characters
MAX_SHOWN = 300  # characters of a choice, as it is recorded

# A name that Python gives, `__init__`, is meant as such unless there is a list of that name.
_PYTHON = frozenset(name.strip("_") for kind in (type, list, dict, int) for name in dir(kind) if name[:2] == "__")
_PYTHON |= {"main", "file", "all", "version", "author", "path", "slots", "enter", "exit", "next", "future", "builtins"}
_NAME = re.compile(r"(?<![^\W_])(?<!\.)__([^\W_](?:[\w /-]{0,80}?[^\W_])??)__(?!\.\w)")
_COUNT = re.compile(r"\s*(?:(\d{1,2})\s*-\s*(\d{1,2})|(\d{1,2}))\s*\$\$")
_SHARE = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6})?)::")


@dataclass(frozen=True)
class _Options:
    """What stands between two braces: of these texts `fewest` to `most` are drawn, with `joint` between them."""

    texts: list[str]
    fewest: int = 1
    most: int = 1
    joint: str = ", "
    counted: bool = False


def _options(inside: str) -> _Options | None:
    """How `{inside}` is read; None for braces that are text."""
    texts = cut(inside, braces_in(inside))
    counted = _COUNT.match(texts[0])
    if not counted:
        return _Options(texts) if len(texts) > 1 else None
    one, other = int(counted[1] or counted[3]), int(counted[2] or counted[3])
    texts[0] = texts[0][counted.end() :]
    first, mark, rest = texts[0].partition("$$")
    if mark:
        texts[0] = rest
    return _Options(texts, min(one, other), max(one, other), first if mark else ", ", counted=True)


@dataclass
class _Draw:
    """One text in progress."""

    lists: WordLists
    dice: random.Random
    choices: list[str] = field(default_factory=list)
    depth: int = 0
    nested: int = 0

    def text(self, template: str) -> str:
        """A template, escaped signs hidden, with every choice drawn; what is nested too deep is text."""
        found, at = [], 0
        self.nested += 1
        for start, end in braces_in(template) if self.nested <= MAX_NESTED else ():
            found += [self._words(template[at:start]), self._one_of(template[start + 1 : end])]
            at = end + 1
        made = "".join([*found, self._words(template[at:])])
        self.nested -= 1
        if len(made) > MAX_LENGTH or len(self.choices) > MAX_DRAWN:
            raise BadParams(f"The prompt draws too much: at most {MAX_DRAWN} choices and {MAX_LENGTH} characters.")
        return made

    def _one_of(self, inside: str) -> str:
        """What becomes of `{inside}`; braces without a | are text."""
        among = _options(inside)
        if among is None:
            return f"{{{self.text(inside)}}}"
        shares = [float(share[1]) if (share := _SHARE.match(option)) else 1.0 for option in among.texts]
        options = [_SHARE.sub("", option, count=1) for option in among.texts]
        wanted = min(self.dice.randint(among.fewest, among.most), len(options))
        drawn = [
            self.text(options[n]).strip() if among.counted else self.text(options[n])
            for n in self._some(shares, wanted)
        ]
        made = among.joint.join(drawn)
        self.choices.append(f"{{{_short(written(inside))}}}: {_short(written(made).strip())}")
        return made

    def _some(self, shares: Sequence[float], wanted: int) -> list[int]:
        """So many different places, each as likely as its share of what is left."""
        left = {n: share for n, share in enumerate(shares)}
        found = []
        for _ in range(wanted):
            total = sum(left.values())
            weights = list(left.values()) if total > 0 else [1.0] * len(left)
            found.append(self.dice.choices(list(left), weights)[0])
            del left[found[-1]]
        return found

    def _words(self, text: str) -> str:
        """A text without braces, with every `__name__` drawn."""
        return _NAME.sub(self._line, text)

    def _line(self, match: re.Match[str]) -> str:
        name = match[1]
        if not self.lists.knows(name) and (not self.lists.names or name.lower() in _PYTHON):
            return match[0]
        if self.depth == MAX_DEPTH:
            raise BadParams(f"The word list {name!r} names itself, by way of others or directly.")
        lines = self.lists.lines(name)
        shares = [float(share[1]) if (share := _SHARE.match(line)) else 1.0 for line in lines]
        line = _SHARE.sub("", lines[self._some(shares, 1)[0]], count=1)
        self.depth += 1
        made = self.text(hide(line))
        self.depth -= 1
        self.choices.append(f"{name}: {_short(written(made))}")
        return made


def draw(reading: Reading) -> Reading:
    """Every choice in the texts drawn, in their order; a seed is, too, where there is a choice and none is given.

    Raises BadParams for a list that is not there, and for what draws without end.
    """
    lists = WordLists(reading.sources.wildcards)
    hidden = {name: hide(text) for name, text in reading.texts.items()}
    if not any(_has_choices(text) for text in hidden.values()):
        return reading
    seed = reading.values.get("seed")
    if seed is None:
        seed = secrets.randbelow(2**32)
        reading = reading.sets("seed", seed)
    dice = random.Random(_whole(seed))
    for name, text in hidden.items():
        drawing = _Draw(lists, dice)
        made = written(drawing.text(text))
        if drawing.choices:
            reading = reading.reads(name, " ".join(made.split()), *drawing.choices)
        reading = reading.says(*_unread(made, lists))
    return reading


def common(text: str) -> str:
    """What all pictures that a template draws have in common: the text without its choices."""
    hidden, at, found = hide(text), 0, []
    for start, end in braces_in(hidden):
        if len(cut(inside := hidden[start + 1 : end], braces_in(inside))) > 1 or _COUNT.match(inside):
            found.append(hidden[at:start])
            at = end + 1
    rest = _NAME.sub(lambda m: m[0] if m[1].lower() in _PYTHON else "", "".join([*found, hidden[at:]]))
    return " ".join(written(rest).split())


def choices(text: str, sources: Sources, most: int) -> dict[str, list[str]]:
    """The choices of a text as they are written in it, each with what it may become, in order, at most `most` of it.

    Choices within a choice stay as they are. Raises BadParams for a list that is not there.
    """
    pieces = _pieces(hide(text), WordLists(sources.wildcards))
    return {written(piece): [written(one) for one in islice(may, most)] for piece, may in pieces if may is not None}


def outcomes(text: str, sources: Sources, most: int) -> list[str]:
    """Every text that a template may become, none twice, in the order of its choices; at most `most` of them.

    Raises BadParams for a list that is not there, or that names itself.
    """
    lists, read = WordLists(sources.wildcards), 0

    def every(template: str, depth: int) -> Iterator[str]:
        nonlocal read
        read += 1
        if depth > MAX_DEPTH or read > MAX_READ:
            raise BadParams("A choice of the prompt is in too many others, or a word list names itself.")
        parts = [
            [piece] if may is None else list(islice(chain.from_iterable(every(one, depth + 1) for one in may), most))
            for piece, may in _pieces(template, lists)
        ]
        return ("".join(made) for made in product(*parts))

    made = (" ".join(written(one).split()) for one in islice(every(hide(text), 0), most))
    return list(dict.fromkeys(made))


def _pieces(template: str, lists: WordLists) -> list[tuple[str, Iterator[str] | None]]:
    """A template, escaped signs hidden, cut at the choices in no other, each with what it may become; None: text."""
    found: list[tuple[str, Iterator[str] | None]] = []
    at = 0
    for start, end in braces_in(template):
        found += _named(template[at:start], lists)
        found.append((template[start : end + 1], _some_of(template[start + 1 : end])))
        at = end + 1
    return [*found, *_named(template[at:], lists)]


def _some_of(inside: str) -> Iterator[str] | None:
    """What `{inside}` may become."""
    among = _options(inside)
    if among is None:
        return None
    texts = _likely(among.texts)
    if not among.counted:
        return iter(texts)
    numbers = range(min(among.fewest, len(texts)), min(among.most, len(texts)) + 1)
    some = chain.from_iterable(combinations([one.strip() for one in texts], number) for number in numbers)
    return (among.joint.join(one) for one in some)


def _likely(texts: Sequence[str]) -> list[str]:
    """The texts without their shares, and without those that are never drawn."""
    shares = [float(share[1]) if (share := _SHARE.match(text)) else 1.0 for text in texts]
    return [
        _SHARE.sub("", text, count=1) for text, share in zip(texts, shares, strict=True) if share or not any(shares)
    ]


def _named(text: str, lists: WordLists) -> Iterator[tuple[str, Iterator[str] | None]]:
    """A text without braces, cut at the `__names__` that are lists."""
    at = 0
    for match in _NAME.finditer(text):
        if lists.knows(match[1]) or (lists.names and match[1].lower() not in _PYTHON):
            yield text[at : match.start()], None
            yield match[0], (hide(line) for line in _likely(lists.lines(match[1])))
            at = match.end()
    yield text[at:], None


def _short(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"  # all of it is in what was typed


def _whole(seed: object) -> int:
    try:
        return int(str(seed))
    except ValueError:
        return 0  # `validate` refuses it


def _has_choices(text: str) -> bool:
    return bool(braces_in(text)) or _NAME.search(text) is not None


def _unread(text: str, lists: WordLists) -> list[Notice]:
    """What to say of `__names__` that stay text."""
    names = [match[1] for match in _NAME.finditer(hide(text)) if match[1].lower() not in _PYTHON]
    if not names or lists.names:
        return []
    return [
        Notice(
            "There are no word lists here, so {name} is read as it is written. The host may put {file} into the folder "
            "of T2I_WILDCARDS_DIR.",
            name=f"__{names[0]}__",
            file=f"{names[0]}.txt",
        )
    ]
