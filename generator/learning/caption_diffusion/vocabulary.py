"""A vocabulary of the captions' own: byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) as CLIP reads it.

Common words become one token each, rare ones are spelt from parts, so that no prompt has an unknown word.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

from generator.tokens import tokenizer

BYTES = 514  # tokens without any merge: 256 bytes, the same at a word's end, start and end
MAX_CHARACTERS = 2000  # of a caption that are looked at

Pair = tuple[str, str]


def words_in(captions: Iterable[str]) -> Counter[str]:
    """How often each word stands in the captions, its bytes as CLIP's tokenizer writes them."""
    bpe, found = tokenizer(), Counter[str]()
    for caption in captions:
        for word in bpe.pat.findall(re.sub(r"\s+", " ", caption[:MAX_CHARACTERS]).strip().lower()):
            found["".join(bpe.byte_encoder[byte] for byte in word.encode("utf-8", "replace"))] += 1
    return found


def learn_merges(words: Counter[str], vocabulary: int, min_frequency: int) -> tuple[Pair, ...]:
    """The merges, the commonest first, until there are `vocabulary` tokens or no two parts meet often enough.

    Of pairs as common as each other the first in the alphabet comes first: the same captions give the same merges.
    """
    spelt = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    counts = list(words.values())
    pairs: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for number, parts in enumerate(spelt):
        for pair in pairwise(parts):
            pairs[pair] += counts[number]
            where[pair].add(number)
    waiting = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(waiting)
    merges: list[Pair] = []
    while waiting and len(merges) < vocabulary - BYTES:
        count, pair = heapq.heappop(waiting)
        if -count != pairs[pair]:  # counted before another merge took some of them
            continue
        if -count < min_frequency:
            break
        merges.append(pair)
        changed: set[Pair] = set()
        for number in sorted(where.pop(pair)):
            before, after = spelt[number], _merged(spelt[number], pair)
            for old in pairwise(before):
                pairs[old] -= counts[number]
                changed.add(old)
            for new in pairwise(after):
                pairs[new] += counts[number]
                where[new].add(number)
                changed.add(new)
            spelt[number] = after
        for one in sorted(changed - {pair}):
            if pairs[one] > 0:
                heapq.heappush(waiting, (-pairs[one], one))
    return tuple(merges)


def _merged(parts: list[str], pair: Pair) -> list[str]:
    found: list[str] = []
    for part in parts:
        if found and (found[-1], part) == pair:
            found[-1] += part
        else:
            found.append(part)
    return found
