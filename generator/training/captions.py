"""Texts: what each emoji may be called, and the wider English the text tower is distilled on."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey", "golden")
QUALITIES = (
    "small",
    "big",
    "cute",
    "happy",
    "sad",
    "old",
    "shiny",
    "simple",
    "round",
    "little",
    "funny",
    "beautiful",
    "angry",
    "sleeping",
    "flying",
    "wooden",
    "delicious",
    "colourful",
)
FORMS = (
    "a photo of {}",
    "a picture of {}",
    "a drawing of {}",
    "an emoji of {}",
    "an icon of {}",
    "{} emoji",
    "a {} emoji",
    "{} on a white background",
    "an illustration of {}",
    "a painting of {}",
    "clip art of {}",
    "a sticker of {}",
)
BETWEEN = ("with", "and", "on", "in", "next to", "under")
STYLE_WORDS = {
    "noto": "a noto emoji",
    "twemoji": "a twemoji",
    "fluent": "a flat fluent emoji",
    "3d": "a glossy 3d render",
    "silhouette": "a black silhouette",
    "blob": "a blob emoji",
    "fx": "an fx emoji",
}
COMMON = frozenset(
    {
        "red heart",
        "cat",
        "cat face",
        "dog",
        "dog face",
        "automobile",
        "house",
        "deciduous tree",
        "evergreen tree",
        "sun",
        "red apple",
        "banana",
        "pizza",
        "rocket",
        "tropical fish",
        "fish",
        "bird",
        "penguin",
        "owl",
        "frog",
        "crown",
        "light bulb",
        "soccer ball",
        "bicycle",
        "strawberry",
        "birthday cake",
        "hamburger",
        "ice cream",
        "airplane",
        "sailboat",
        "star",
        "crescent moon",
        "rainbow",
        "snowman",
        "umbrella",
        "rose",
        "sunflower",
        "tulip",
        "robot",
        "ghost",
        "skull",
        "alien",
        "dragon",
        "unicorn",
        "horse",
        "cow",
        "pig",
        "rabbit",
        "bear",
        "panda",
        "lion",
        "tiger face",
        "monkey",
        "elephant",
        "butterfly",
        "lady beetle",
        "honeybee",
        "octopus",
        "whale",
        "shark",
        "turtle",
        "snake",
        "spider",
        "chicken",
        "duck",
        "flying saucer",
        "castle",
        "bus",
        "fire engine",
        "police car",
        "locomotive",
        "guitar",
        "trumpet",
        "book",
        "key",
        "hammer",
        "bomb",
        "gem stone",
        "trophy",
        "balloon",
        "wrapped gift",
        "watermelon",
        "cherries",
        "lemon",
        "grapes",
        "pineapple",
        "carrot",
        "tomato",
        "bread",
        "hot beverage",
        "teapot",
        "egg",
        "cactus",
        "mushroom",
        "fire",
        "snowflake",
        "cloud",
        "volcano",
        "grinning face",
        "smiling face with sunglasses",
        "crying face",
        "angry face",
        "blue heart",
        "green heart",
        "mountain",
        "clown face",
        "fox",
        "t-shirt",
        "dress",
        "hat",
        "top hat",
        "glasses",
        "shoe",
        "telephone",
        "laptop",
        "camera",
        "television",
        "clock",
        "alarm clock",
        "watch",
        "bell",
        "envelope",
    }
)
PLURALS = re.compile(r"(s|people|hands|teeth)$")


def with_article(label: str) -> str:
    """'red heart' -> 'a red heart'; plurals and names stay bare."""
    head = label.split(" with ")[0]
    if PLURALS.search(head) and not head.endswith(("ss", "us", "bus", "octopus", "cactus")):
        return label
    return ("an " if label[:1].lower() in "aeiou" else "a ") + label


def plain(text: str) -> str:
    """A shortcode or label as words."""
    return (
        re.sub(
            r"\s+",
            " ",
            text.replace("_", " ")
            .replace(":", "")
            .replace("-", " ")
            .replace("“", "")
            .replace("”", "")
            .replace("⊛", ""),
        )
        .strip()
        .lower()
    )


def common(concept: dict[str, Any]) -> bool:
    """Whether people ask for this first."""
    return concept["label"] in COMMON


def styled(label: str, style: str) -> str:
    """'cat', '3d' -> 'a cat, a glossy 3d render'."""
    return f"{with_article(label)}, {STYLE_WORDS[style]}"


def names_of(concept: dict[str, Any]) -> list[str]:
    """Its own names, best first: label, the label without 'face'/'button', shortcodes."""
    label = plain(concept["label"])
    names = [label]
    if label.endswith(" face") and len(label.split()) == 2 and concept["subgroup"] >= 30:
        names.append(label.removesuffix(" face"))
    names += [plain(code) for code in concept["shortcodes"] if not re.search(r"\d", code)]
    return list(dict.fromkeys(names))


def captions_of(concept: dict[str, Any]) -> list[tuple[str, float]]:
    """Texts with the weights they are drawn by; they sum to 1. Names carry most, loose tags little."""
    names = names_of(concept)
    weighted: dict[str, float] = {}

    def add(text: str, weight: float) -> None:
        weighted[text] = weighted.get(text, 0.0) + weight

    add(names[0], 0.25)
    add(with_article(names[0]), 0.3)
    add("the " + names[0], 0.03)
    for form in FORMS:
        whole = form.format(names[0]) if form.startswith(("a {", "{} emoji")) else form.format(with_article(names[0]))
        add(whole, 0.17 / len(FORMS))
    for name in names[1:]:
        add(name, 0.05 / len(names[1:]))
        add(with_article(name), 0.05 / len(names[1:]))
    for tag in concept["tags"]:
        add(plain(tag), 0.08 / len(concept["tags"]))
    total = sum(weighted.values())
    return [(text, weight / total) for text, weight in weighted.items()]


def wordnet_words(folder: Path) -> dict[str, list[str]]:
    """Lemmas that occur in WordNet's tagged texts, by part of speech, and every short noun besides."""
    words: dict[str, list[str]] = {}
    for part in ("noun", "adj", "verb"):
        found: list[str] = []
        rare: list[str] = []
        for line in (folder / f"index.{part}").read_text().splitlines():
            if line.startswith(" "):
                continue
            fields = line.split()
            lemma = fields[0].replace("_", " ")
            if len(lemma) < 3 or re.search(r"[^a-z' -]", lemma):
                continue
            pointers = int(fields[3])
            (found if int(fields[5 + pointers]) > 0 else rare).append(lemma)
        words[part] = found
        if part == "noun":
            words["rare"] = [lemma for lemma in rare if len(lemma.split()) <= 2]
    return words


def distillation_texts(concepts: list[dict[str, Any]], wordnet: Path | None, count: int, seed: int = 0) -> list[str]:
    """About `count` distinct texts: all captions, composed phrases, and words of WordNet where it is at hand."""
    draw = random.Random(seed)
    texts = dict.fromkeys(text for concept in concepts for text, _ in captions_of(concept))
    names = [plain(concept["label"]) for concept in concepts if concept["group"] != 1]
    words = {"noun": names, "adj": list(QUALITIES), "verb": [], "rare": []}
    if wordnet is not None:
        words = wordnet_words(wordnet)
    for word in [*words["noun"], *words["adj"], *words["verb"]]:
        texts.setdefault(word)
    for word in words["noun"]:
        texts.setdefault(with_article(word))
    draw.shuffle(words["rare"])
    for word in words["rare"][: count // 8]:
        texts.setdefault(with_article(word))
    while len(texts) < count:
        name = draw.choice(names)
        other = draw.choice(names if draw.random() < 0.6 else words["noun"])
        quality = draw.choice(COLOURS if draw.random() < 0.6 else QUALITIES if draw.random() < 0.6 else words["adj"])
        thing = f"{quality} {name if draw.random() < 0.6 else other}"
        kind = draw.random()
        if kind < 0.5:
            text = with_article(thing) if draw.random() < 0.7 else thing
        elif kind < 0.6:
            text = draw.choice(FORMS).format(thing)
        elif kind < 0.75:
            text = f"{with_article(name)} {draw.choice(BETWEEN)} {with_article(other)}"
        elif kind < 0.85:
            text = f"{with_article(thing)} {draw.choice(BETWEEN)} {with_article(other)}"
        else:
            text = with_article(other) if draw.random() < 0.5 else f"{name} {other}"
        texts.setdefault(text)
    return list(texts)
