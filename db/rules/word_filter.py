"""Words that the host refuses, found however they are written.

The text is cut into tokens, each a row of characters with the letters it can be read as (characters/look_alikes.py).
A word is found where it is a whole token, or several tokens that stand apart only to hide it. The words are one trie,
and all their beginnings are followed at once, so that the time does not depend on how many words there are.

What is found: another case, accents and marks over letters, look-alike letters (UTS 39, section 4), leet with at least
as many letters as digits, turned text, letters drawn long (baaad, bbaadd), letters apart (b a d, b.a.d), halves of two
letters of which one is no word (ba d), halves with a sign between them that stands in no sentence (ba*d), invisible
characters, and text that controls turn round (UAX 9). What is not: a word within a longer one, a word cut into words
(pen is), rn for m within a word, cl for d, what may as well be a number (A55), and, in a text of a language that
writes accents, a word with one (gás is no gas).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from characters.look_alikes import LIVING, Shape
from db.rules.short_words import SHORT_WORDS
from db.rules.word_tokens import APART, AROUND, JOINED, ODD, Token, letters_of, readings
from db.rules.word_trie import LONG_ENOUGH, Node, Trie, trie

# Never doubled in a word of English; other consonants are never doubled where a word begins, but ll is.
_NEVER_DOUBLED = frozenset("ahijkquvwxy")
# They stand in nearly every English sentence and in no other language.
_ENGLISH = frozenset(("the", "of", "with", "and", "is", "are", "this", "that", "by", "from", "its", "his", "her", "an"))
# They stand in sentences of languages that write accents, and in none of English.
_ACCENTING = frozenset(
    (
        *("le", "les", "un", "une", "des", "du", "et", "est", "pour", "qui", "que", "dans", "sur", "der", "das", "und"),
        *("ist", "ein", "eine", "nicht", "er", "euch", "el", "los", "las", "una", "por", "para", "il", "che", "di"),
        *("de", "la", "en", "em", "pa", "da"),
        *("um", "uma", "och", "att", "det", "som", "av", "ik", "het", "een", "van", "eta", "bat", "bir", "ve", "egy"),
    )
)
# More ways to go on, pieces of one word, or signs before it are not followed: a hostile text must not take long.
MAX_PATHS, MAX_PIECES, MAX_CUT = 32, 40, 8
_ONE_LETTER_WORDS = frozenset("aeiouyвиксуояαηο")


@dataclass(frozen=True, slots=True)
class _Path:
    """A way that a word has been followed to the end of a token.

    pieces: tokens it lies in so far, since a phrase's last gap; letters: of the word in them, and in the longest one;
    parted: the widest gap between them; free: whether a blank is before the first; unknown: how many are no words;
    signs: how many are signs, as the @ of b @ d; cut: whether digits beside it were cut off; mixed: whether one of
    several characters has digits.
    """

    node: Node
    pieces: int = 0
    letters: int = 0
    longest: int = 0
    parted: int = JOINED
    free: bool = False
    unknown: int = 0
    signs: int = 0
    cut: bool = False
    mixed: bool = False


def refused(text: str, words: Sequence[str]) -> str | None:
    """The first of the host's words, as the host wrote it, that the text holds; None where it holds none."""
    if not words or not text:
        return None
    made = trie(tuple(words))
    found = {word for reading in readings(text) for word in _found(reading, made)}
    if made.anywhere:
        joined = letters_of(text)
        found |= {word for word, letters in made.anywhere if letters in joined}
    return next((word for word in words if word in found), None)


def _found(tokens: list[Token], words: Trie) -> Iterator[str]:
    """The words in one reading of a text."""
    native, accents = _native(tokens), _honest_accents(tokens)
    begun: list[_Path] = []
    for token, following in zip_longest(tokens, tokens[1:]):
        is_native = token.script in native
        letters = [shape.same if is_native else shape.like for shape in token.shapes]
        if token.shapes[0].own == "ß":
            letters[0] |= {"b"}
        runs = _runs(token)
        is_plain = token.is_plain and not runs
        going: dict[_Path, None] = {}  # in order, each once
        for path in (_Path(words.root), *begun):
            ends = _plain_end(path, token.letters) if is_plain else _ends(path, token, letters, runs)
            for node, used, digits, cut in ends:
                more = _joined(path, token, node, used, digits, cut)
                is_accented = node.plain and more.pieces == 1 and 1 <= token.accents <= accents
                ends_free = following is None or following.before == APART
                if node.word is not None and not is_accented and _is_hidden(more, ends_free):
                    yield node.word
                if node.following and _may_go_on(more):
                    going.update(dict.fromkeys(_onward(more)))
        begun = list(going)[:MAX_PATHS]
        if is_native and len(tokens) == 1:  # a name or a prompt of one word may be Russian or all look-alikes
            ends = _ends(_Path(words.root), token, [shape.like for shape in token.shapes], runs)
            yield from (node.word for node, used, _, _ in ends if node.word is not None and used >= LONG_ENOUGH)


def _native(tokens: list[Token]) -> set[str]:
    """The scripts that more than a third of the tokens are written in and that have words of their own."""
    scripts = [script for token in tokens if (script := token.script)]
    return {script for script in set(scripts) if script in LIVING and scripts.count(script) * 3 > len(scripts)}


def _honest_accents(tokens: list[Token]) -> int:
    """How many accents a word may have in this text, because its language writes them: there gás is no gas.

    Two where small words of such a language stand in it, one in Vietnamese, none in English.
    """
    if not any(token.accents for token in tokens):
        return 0
    written = {token.letters for token in tokens}
    if not written.isdisjoint(_ENGLISH):
        return 0
    return 2 if not written.isdisjoint(_ACCENTING) else int(sum(token.is_vietnamese for token in tokens) > 1)


def _plain_end(path: _Path, letters: str) -> Iterator[tuple[Node, int, int, bool]]:
    """As `_ends`, of a token that can be read in one way only, which nearly all are."""
    nodes = [path.node]
    for letter in letters:
        nodes = [child for node in nodes for child in node.following.get(letter, ())]
    for node in nodes:
        yield node, len(letters), 0, False


def _ends(
    path: _Path, token: Token, letters: list[frozenset[str]], runs: dict[int, int]
) -> Iterator[tuple[Node, int, int, bool]]:
    """Where a path leads through a token: (node, letters of the word in it, how many of them are digits, cut).

    Signs and digits at the token's ends, as in 2gore!, need not be part of the word; cut: digits were left out.
    """
    characters = token.shapes
    first, last = 0, len(characters)
    while first < last and characters[first].sign:
        first += 1
    while last and characters[last - 1].sign:
        last -= 1
    for start in (0,) if path.pieces else {*range(min(first, MAX_CUT)), first}:
        reached = {(start, id(path.node), 0, 0): path.node}
        while reached:
            after: dict[tuple[int, int, int, int], Node] = {}
            for (at, _, used, digits), node in reached.items():
                # Read as a word, not as a number: at least as many letters as digits, but for one alone, as in b 4 d.
                is_word = digits * 2 <= used or (path.pieces > 0 and used == 1)
                if used and at >= last and is_word:
                    left_out = (*characters[:start], *characters[at:])
                    yield node, used, digits, any(shape.sign == "digit" for shape in left_out)
                if at == len(characters):
                    continue
                shape = characters[at]
                for letter in letters[at]:
                    for child in node.following.get(letter, ()):
                        is_digit = shape.sign == "digit" and letter != shape.own
                        after[(at + 1, id(child), used + 1, digits + is_digit)] = child
                        if at in runs:
                            after[(runs[at], id(child), used + 1, digits + is_digit)] = child
            reached = after


def _runs(token: Token) -> dict[int, int]:
    """Where reading may go on after a character that is drawn long: baaad, bbaadd, baad, but not good for god."""
    characters = token.shapes
    changes = [at for at, (one, other) in enumerate(pairwise(characters), 1) if not _same_letter(one, other)]
    if len(changes) == len(characters) - 1:
        return {}
    bounds = [0, *changes, len(characters)]
    lengths = [end - start for start, end in pairwise(bounds)]
    all_long = len(lengths) > 1 and min(lengths) > 1
    found: dict[int, int] = {}
    for start, length in zip(bounds, lengths, strict=False):
        shape = characters[start]
        odd = shape.own in _NEVER_DOUBLED or (start == 0 and shape.own not in "aelo")
        if shape.sign != "digit" and (length > 2 or (length == 2 and (all_long or odd))):
            found.update(dict.fromkeys(range(start, start + length - 1), start + length))
    return found


def _same_letter(one: Shape, other: Shape) -> bool:
    return one is other or bool(one.own and one.own == other.own)


def _joined(path: _Path, token: Token, node: Node, used: int, digits: int, cut: bool) -> _Path:
    """The path after another token, in which it used so many letters, of them digits."""
    written = token.letters
    known = written in (_ONE_LETTER_WORDS if len(written) == 1 else SHORT_WORDS)
    return _Path(
        node,
        path.pieces + 1,
        path.letters + used,
        max(path.longest, used),
        max(path.parted, token.before) if path.pieces else JOINED,
        path.free if path.pieces else token.before == APART,
        path.unknown + (not known),
        path.signs + all(shape.sign in ("ascii", "digit") for shape in token.shapes),
        path.cut or cut,
        path.mixed or (digits > 0 and used > 1),
    )


def _may_go_on(path: _Path) -> bool:
    """Whether anything may still be found on this path: longer pieces hide nothing but beside odd signs."""
    if path.cut or path.pieces > MAX_PIECES:
        return False
    return path.pieces == 1 or path.longest < 3 or path.parted == ODD or path.node.gap


def _onward(path: _Path) -> Iterator[_Path]:
    """How the next token may go on with it: as the next piece of the word, or as the next word of a phrase."""
    yield path
    if path.node.gap and _is_hidden(path, True):
        yield _Path(path.node)


def _is_hidden(path: _Path, ends_free: bool) -> bool:
    """Whether these pieces stand apart to hide a word, or are one piece. ends_free: whether a blank is after them."""
    if path.pieces == 1:
        return path.letters >= LONG_ENOUGH - 1 or not path.cut  # gore2 is gore, FAT32 is not fat
    if path.signs * 2 > path.pieces or path.cut or path.mixed:
        return False
    if path.longest == 1:
        return path.pieces > 2
    if path.parted in (ODD, AROUND):
        return path.parted == ODD
    if path.longest > 2 or not (path.free and ends_free):  # go re-read
        return False
    return path.unknown >= (1 if path.letters > 3 else path.pieces)
