"""The order in which a line of text is shown: the Unicode Bidirectional Algorithm (Unicode Standard Annex 9).

All its rules but N0: brackets are shown like other punctuation, which moves no letter that a word is read from.
"""

from __future__ import annotations

import unicodedata

MAX_DEPTH = 125
_EMBEDDINGS = {"LRE": (0, ""), "RLE": (1, ""), "LRO": (0, "L"), "RLO": (1, "R")}
_ISOLATES = ("LRI", "RLI", "FSI")
_REMOVED = ("LRE", "RLE", "LRO", "RLO", "PDF", "BN")  # rule X9
_NEUTRAL = ("B", "S", "WS", "ON", "LRI", "RLI", "FSI", "PDI")


def as_displayed(text: str, base: int = 0) -> str:
    """One line of text from left to right as it is shown, without the characters that rule X9 takes out.

    base: the level of the paragraph, 0 where it runs from left to right, 1 where from right to left.
    """
    found = levels(text, base)
    # Rule L2: from the highest level down, whatever stands at it or above is turned round.
    shown = [i for i, level in enumerate(found) if level is not None]
    for level in range(max((found[i] or 0 for i in shown), default=0), 0, -1):
        start = None
        for at in range(len(shown) + 1):
            high = at < len(shown) and (found[shown[at]] or 0) >= level
            if high and start is None:
                start = at
            elif not high and start is not None:
                shown[start:at] = reversed(shown[start:at])
                start = None
    return "".join(text[i] for i in shown)


def levels(text: str, base: int) -> list[int | None]:
    """The level of each character; None for those that are taken out."""
    given = [unicodedata.bidirectional(character) or "L" for character in text]
    kinds, found = _explicit(text, given, base)
    explicit = list(found)  # what stands beside a sequence is asked before anything is resolved
    for run in _sequences(kinds, found, given):
        before = next((level for level in explicit[run[0] - 1 :: -1] if level is not None), base) if run[0] else base
        after = next((level for level in explicit[run[-1] + 1 :] if level is not None), base)
        for i, level in zip(run, _resolved(run, kinds, explicit[run[0]] or 0, before, after, base), strict=True):
            found[i] = level
    # Rule L1: separators, and blanks before them or at the end, stand as the paragraph does.
    blank = True
    for i in range(len(text) - 1, -1, -1):
        if given[i] in ("B", "S"):
            found[i], blank = base, True
        elif given[i] in ("WS", *_ISOLATES, "PDI"):
            if blank:
                found[i] = base
        elif found[i] is not None:
            blank = False
    return found


def _explicit(text: str, given: list[str], base: int) -> tuple[list[str], list[int | None]]:
    """Rules X1 to X9: kinds after overrides, and levels after embeddings and isolates."""
    kinds, found = list(given), [base if kind not in _REMOVED else None for kind in given]
    stack: list[tuple[int, str, bool]] = [(base, "", False)]  # level, override, whether an isolate began it
    too_deep_isolates = too_deep = isolates = 0
    for i, kind in enumerate(given):
        level, override, _ = stack[-1]
        if kind in _EMBEDDINGS or kind in _ISOLATES:
            is_isolate = kind in _ISOLATES
            odd, forced = _EMBEDDINGS.get(kind, (0, ""))
            if is_isolate:
                found[i], kinds[i] = level, override or kind
                odd = _first_strong(given, i) if kind == "FSI" else int(kind == "RLI")
            deeper = level + 1 + ((level + 1) % 2 != odd)
            if deeper <= MAX_DEPTH and not too_deep_isolates and not too_deep:
                isolates += is_isolate
                stack.append((deeper, forced, is_isolate))
            elif is_isolate:
                too_deep_isolates += 1
            elif not too_deep_isolates:
                too_deep += 1
        elif kind == "PDI":
            if too_deep_isolates:
                too_deep_isolates -= 1
            elif isolates:
                too_deep = 0
                while not stack[-1][2]:
                    stack.pop()
                stack.pop()
                isolates -= 1
            found[i], kinds[i] = stack[-1][0], stack[-1][1] or kind
        elif kind == "PDF" and not too_deep_isolates:
            if too_deep:
                too_deep -= 1
            elif not stack[-1][2] and len(stack) > 1:
                stack.pop()
        elif kind not in ("B", "BN", "PDF"):
            found[i], kinds[i] = level, override or kind
    return kinds, found


def _first_strong(given: list[str], at: int) -> int:
    """Rules P2 and P3 for what follows a first-strong isolate: 1 where it runs from right to left."""
    depth = 0
    for kind in given[at + 1 :]:
        if kind in _ISOLATES:
            depth += 1
        elif kind == "PDI":
            if not depth:
                break
            depth -= 1
        elif not depth and kind in ("L", "R", "AL"):
            return int(kind != "L")
    return 0


def _sequences(kinds: list[str], found: list[int | None], given: list[str]) -> list[list[int]]:
    """Rule X10: isolating run sequences, each as the places of its characters."""
    runs: list[list[int]] = []
    for i, level in enumerate(found):
        if level is None:
            continue
        if runs and found[runs[-1][-1]] == level:
            runs[-1].append(i)
        else:
            runs.append([i])
    made: list[list[int]] = []
    waiting: list[list[int]] = []  # sequences whose isolate is open
    for run in runs:
        if given[run[0]] == "PDI" and waiting and found[waiting[-1][-1]] == found[run[0]]:
            sequence = waiting.pop()
            sequence.extend(run)
        else:
            sequence = run
            made.append(sequence)
        if given[run[-1]] in _ISOLATES:
            waiting.append(sequence)
    return made


def _resolved(run: list[int], kinds: list[str], level: int, before: int, after: int, base: int) -> list[int]:
    """Rules W1 to W7, N1, N2, I1 and I2: the levels of one sequence. before, after: of what stands beside it."""
    if kinds[run[-1]] in _ISOLATES:
        after = base
    first = "R" if max(level, before) % 2 else "L"
    last = "R" if max(level, after) % 2 else "L"
    types = [kinds[i] for i in run]
    _weak(types, first)
    own = "R" if level % 2 else "L"
    at = 0
    while at < len(types):
        end = at
        while end < len(types) and types[end] in _NEUTRAL:
            end += 1
        if end > at:
            left = first if at == 0 else "L" if types[at - 1] == "L" else "R"
            right = last if end == len(types) else "L" if types[end] == "L" else "R"
            types[at:end] = [left if left == right else own] * (end - at)
        at = max(end, at + 1)
    above = {"L": 1, "R": 0, "EN": 1, "AN": 1} if level % 2 else {"L": 0, "R": 1, "EN": 2, "AN": 2}
    return [level + above[kind] for kind in types]


def _weak(types: list[str], first: str) -> None:
    """Rules W1 to W7, in place."""
    previous, strong = first, first
    for at, kind in enumerate(types):
        if kind == "NSM":
            types[at] = kind = "ON" if previous in (*_ISOLATES, "PDI") else previous
        previous = kind
    for at, kind in enumerate(types):
        if kind in ("L", "R", "AL"):
            strong = kind
        elif kind == "EN" and strong == "AL":
            types[at] = "AN"
    types[:] = ["R" if kind == "AL" else kind for kind in types]
    for at in range(1, len(types) - 1):
        pair = (types[at - 1], types[at + 1])
        if types[at] in ("ES", "CS") and pair == ("EN", "EN"):
            types[at] = "EN"
        elif types[at] == "CS" and pair == ("AN", "AN"):
            types[at] = "AN"
    at = 0
    while at < len(types):
        end = at
        while end < len(types) and types[end] == "ET":
            end += 1
        if end > at and ((at and types[at - 1] == "EN") or (end < len(types) and types[end] == "EN")):
            types[at:end] = ["EN"] * (end - at)
        at = max(end, at + 1)
    _numbers(types, first)


def _numbers(types: list[str], first: str) -> None:
    """Rules W6 and W7, in place."""
    strong = first
    for at, kind in enumerate(types):
        if kind in ("ES", "CS", "ET"):
            types[at] = "ON"
        elif kind in ("L", "R"):
            strong = kind
        elif kind == "EN" and strong == "L":
            types[at] = "L"
