"""Measure the filter of refused words: what it finds of 51 kinds of disguises, and what it refuses of innocent texts.

    python scripts/measure_word_filter.py [--texts DIR] [--count 10000] [--dictionaries 50000]

Disguises: every word of WORDS in every kind (scripts/word_disguises.py). Innocent texts: sentences out of the packages
below, none of which holds a word of the list (scripts/refused_words.txt) as a word of its own. Debian has them; they
need not be installed: `apt-get download NAME ...`, then `dpkg -x FILE DIR` for each. What is there of them is used.

    wordnet-base fortunes fortunes-es fortunes-de fortunes-it fortunes-br fortunes-ru manpages-es manpages-de
    manpages-fr manpages-ru iso-codes wamerican-large wbritish-large wspanish wngerman wfrench witalian wportuguese
    wdutch wswedish hunspell-eu hunspell-tr hunspell-vi hunspell-el hunspell-ar hunspell-hi

Without --texts only the sentences of the project itself are tried: captions, names of classes, translations, and
those of tests/unit/innocent_prompts.txt.
"""

from __future__ import annotations

import argparse
import gettext
import gzip
import random
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from db.rules.word_filter import refused  # noqa: E402
from scripts.word_disguises import WORDS, disguises  # noqa: E402

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_ROFF = re.compile(r"\\f.|\\[-&e]|\\\(..|\\.")
_WORD = re.compile(r"[^\W_]+")


def refused_words() -> tuple[str, ...]:
    """The list that innocent texts are tried with: what hosts refuse, and short words that hide in many others."""
    text = (ROOT / "scripts" / "refused_words.txt").read_text(encoding="utf-8")
    return tuple(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


def is_innocent(text: str, words: frozenset[str]) -> bool:
    """Whether none of the words is in there as it is: as a word, or anywhere where an alphabet sets no gaps."""
    folded = text.casefold()
    plain = words.isdisjoint(_WORD.findall(folded))
    return plain and not any(word in folded for word in words if word[0] >= "\u3040")


def own_texts() -> Iterator[tuple[str, str]]:
    """(source, text) out of the project itself."""
    for path in (ROOT / "tests/unit/innocent_prompts.txt", ROOT / "generator/registry/imagenet_classes.txt"):
        yield from ((path.stem, line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    for path in sorted((ROOT / "pages/locale").glob("*.po")):
        said = re.findall(r'^msg(?:id|str)(?:\[\d\])? "(.+)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
        yield from ((f"{path.stem}.po", text) for text in said)


def texts_of(folder: Path) -> Iterator[tuple[str, str]]:
    """(source, text) out of what was unpacked there."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        if path.parent.name == "wordnet" and path.name.startswith("data."):
            for line in path.read_text(encoding="latin-1").splitlines():
                yield from (("wordnet", gloss.strip(' "')) for gloss in line.partition("| ")[2].split(";"))
        elif "fortunes" in path.parts and path.suffix not in (".dat", ".u8"):
            source = f"fortunes {path.parent.name}"
            for joke in re.split(r"\n%\n", path.read_bytes().decode("utf-8", "ignore")):
                yield from ((source, sentence) for sentence in _SENTENCE.split(" ".join(joke.split())))
        elif "man" in path.parts and path.suffix == ".gz":
            page = gzip.decompress(path.read_bytes()).decode("utf-8", "ignore")
            language = path.parts[path.parts.index("man") + 1]
            yield from ((f"man {language}", _ROFF.sub("", line)) for line in page.splitlines() if line[:1] not in "'.")
        elif path.suffix == ".mo":
            with path.open("rb") as file:
                # Its dictionary has no public name.
                said = vars(gettext.GNUTranslations(file))["_catalog"]
            yield from ((f"iso {path.parts[-3]}", text) for text in said.values() if isinstance(text, str))


def words_of(folder: Path) -> list[tuple[str, str]]:
    """(dictionary, word) of what was unpacked there."""
    found: list[tuple[str, str]] = []
    for path in [*folder.rglob("dict/*"), *folder.rglob("hunspell/*.dic")]:
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        for encoding in ("utf-8", "iso8859-9" if "tr" in path.stem else "latin-1"):
            try:
                lines = data.decode(encoding).splitlines()
                break
            except UnicodeDecodeError:
                continue
        found += ((path.stem, re.split(r"[/\t ]", line)[0]) for line in lines if line and not line.isdigit())
    return found


def recall() -> None:
    """Print what is found of each kind of disguise."""
    found: dict[str, int] = defaultdict(int)
    missed: dict[str, list[str]] = defaultdict(list)
    for kind, word, text in disguises():
        if refused(text, WORDS) == word:
            found[kind] += 1
        else:
            missed[kind].append(text)
            found[kind] += 0
    for kind, count in found.items():
        print(f"{kind:32} {count:3} of {len(WORDS)}  {'  '.join(missed[kind][:4])}")
    print(f"found {sum(found.values())} of {len(found) * len(WORDS)}\n")


def innocents(texts: list[tuple[str, str]], count: int, what: str) -> None:
    """Print which of so many innocent texts are refused, and how long one takes. Each source gives as many."""
    words = refused_words()
    folded = frozenset(word.casefold() for word in words)
    sources: dict[str, list[str]] = defaultdict(list)
    for source, text in texts:
        if 1 < len(text) < 300:
            sources[source].append(text)
    rng = random.Random(0)
    order = [rng.sample(some, len(some)) for some in sources.values()]
    wrong, tried, taken = [], 0, 0.0
    for n in range(max(map(len, order), default=0)):
        for some in order:
            if tried >= count or n >= len(some) or not is_innocent(some[n], folded):
                continue
            began = time.process_time()
            word = refused(some[n], words)
            taken += time.process_time() - began
            tried += 1
            if word is not None:
                wrong.append((word, some[n]))
    for word, text in wrong:
        print(f"  refused for {word!r}: {text}")
    each = taken / max(tried, 1) * 1e6
    print(
        f"{what}: {len(wrong)} of {tried} refused, {each:.0f} µs each with {len(words)} words, {len(sources)} sources\n"
    )


def main() -> int:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, help="folder that the packages were unpacked into")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--dictionaries", type=int, default=50_000, help="single words tried beside them")
    args = parser.parse_args()
    recall()
    innocents(list(own_texts()), args.count, "texts of the project")
    if args.texts is not None:
        innocents(list(texts_of(args.texts)), args.count, "innocent texts")
        innocents(words_of(args.texts), args.dictionaries, "words of dictionaries")
    return 0


if __name__ == "__main__":
    sys.exit(main())
