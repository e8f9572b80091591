"""Write the word lists of generator.wording: `python -m generator.training.wording --wordnet /usr/share/wordnet`.

emoji.txt (emojibase's labels, MIT), languages/es-emoji.txt and eu-emoji.txt (CLDR's annotations, Unicode's licence)
and, where WordNet's data files are at hand (Debian wordnet-base), known_words.txt. Beside them lie those that are
written by hand: function_words.txt, loan_words.txt, languages/es.txt and languages/eu.txt. Takes some
twenty minutes of one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from generator.training import emoji_names, foreign_names
from generator.training.emoji_sets import LABELS, fetch, read_concepts, unpacked

TARGET = Path(__file__).parent.parent / "wording"


def make(packages: Path, target: Path, wordnet: Path | None = None) -> dict[str, int]:
    """Fetch what is missing, write the lists into `target`; how many lines each has."""
    fetch(packages, [LABELS, *foreign_names.PACKAGES])
    labels = unpacked(packages, LABELS)
    (target / "languages").mkdir(parents=True, exist_ok=True)
    written = {"emoji.txt": emoji_names.write(labels, target / "emoji.txt")}
    for language in foreign_names.LANGUAGES:
        name = f"languages/{language}-emoji.txt"
        written[name] = foreign_names.write(packages, labels, language, target / name)
    if wordnet is not None:
        from generator.models.clip import load_mini
        from generator.training.known_words import known_words

        words = known_words(read_concepts(labels), wordnet, load_mini())
        (target / "known_words.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
        written["known_words.txt"] = len(words)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, default=Path("data/training/packages"), help="folder of npm packages")
    parser.add_argument("--wordnet", type=Path, help="folder of WordNet's data files; without it known_words.txt stays")
    parser.add_argument("--target", type=Path, default=TARGET, help="folder of the lists")
    arguments = parser.parse_args()
    for name, count in make(arguments.packages, arguments.target, arguments.wordnet).items():
        print(f"{name:28} {count} lines", flush=True)


if __name__ == "__main__":
    main()
