"""The gallery of an exported evening: plain HTML without scripts, from files beside it.

Whatever a visitor typed is escaped and set apart (<bdi>), so that no tag, link or bidi mark of it has any effect; a
content security policy forbids scripts and the network in any case.
"""

from __future__ import annotations

import html
import json
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.votes import Tally

STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#17211d, #e3eae6); --paper: light-dark(#fafbfa, #101413);
  --quiet: light-dark(#55605b, #a3b0aa); --line: light-dark(#d6dfda, #2d3734); --accent: light-dark(#0b5f55, #7ad4c2); }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 1.5rem 1rem 3rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.45 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; letter-spacing: -0.01em; overflow-wrap: anywhere; }
a { color: var(--accent); }
header p, .meta, summary, nav { color: var(--quiet); font-size: 0.875rem; }
header p { margin: 0.25rem 0 0; }
header .note { display: inline-block; margin-top: 0.6rem; padding: 0.15rem 0.6rem; color: var(--ink);
  border: 1px solid var(--line); border-radius: 0.5rem; }
header { margin-bottom: 1.5rem; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)); gap: 1.25rem; }
figure { margin: 0; min-width: 0; }
figure img, .gone { display: block; width: 100%; height: auto; aspect-ratio: 1; object-fit: contain;
  border: 1px solid var(--line); border-radius: 0.5rem; background: color-mix(in srgb, currentColor 5%, transparent); }
.gone { display: grid; place-items: center; color: var(--quiet); }
figcaption { padding-top: 0.4rem; }
.prompt { margin: 0; font-weight: 600; overflow-wrap: anywhere; max-height: 8.6em; overflow: auto; }
.meta { margin: 0.1rem 0; overflow-wrap: anywhere; }
details pre { margin: 0.3rem 0 0; padding: 0.6rem; max-height: 18rem; overflow: auto; font-size: 0.78rem;
  border: 1px solid var(--line); border-radius: 0.5rem; white-space: pre-wrap; overflow-wrap: anywhere; }
nav { display: flex; gap: 1.5rem; justify-content: center; padding: 2rem 0 0; font-size: 1rem; }
"""
POLICY = "default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Entry:
    """One picture. picture, thumbnail, film: names of files beside the page, None where there is none."""

    id: str
    prompt: str
    by: str | None
    engine: str
    picture: str | None
    thumbnail: str | None
    film: str | None
    score: float | None
    tally: Tally
    params: Mapping[str, Any]


def file_name(number: int) -> str:
    """What a page is called: index.html, page-2.html, ..."""
    return "index.html" if number == 1 else f"page-{number}.html"


def page(title: str, entries: Sequence[Entry], *, number: int, last: bool, at: float, note: str = "") -> str:
    """One page of the gallery, from 1. at: when it was written, UTC s. note: what is said of all pictures."""
    day = time.strftime("%d %B %Y", time.gmtime(at))
    name = html.escape(title)
    said = f'\n<p class="note">{html.escape(note)}</p>' if note else ""
    more = [] if number == 1 else [f'<a href="{file_name(number - 1)}" rel="prev">Newer</a>']
    more += [] if last else [f'<a href="{file_name(number + 1)}" rel="next">Older</a>']
    figures = "\n".join(map(_figure, entries)) or "<p>There are no finished pictures.</p>"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1><bdi>{name}</bdi></h1>
<p>Page {number} · exported on {day} · all settings: <a href="pictures.json">pictures.json</a> ·
votes: <a href="votes.csv">votes.csv</a></p>{said}
</header>
<main>
{figures}
</main>
<nav aria-label="Pages">{" ".join(more)}</nav>
</body>
</html>
"""


def _figure(entry: Entry) -> str:
    prompt = html.escape(" ".join(entry.prompt.split()))
    shown = '<div class="gone">No picture</div>'
    if entry.picture and entry.thumbnail:
        shown = (
            f'<a href="{entry.picture}"><img src="{entry.thumbnail}" alt="{prompt}" loading="lazy" '
            'width="256" height="256"></a>'
        )
    facts = [html.escape(entry.engine)]
    if entry.by:
        facts.append(f"by <bdi>{html.escape(entry.by)}</bdi>")
    if entry.score is not None:
        facts.append(f"score {entry.score:.3f}")
    tally = entry.tally
    if tally.wins + tally.losses + tally.ties:
        facts.append(f"{tally.wins} votes won, {tally.losses} lost, {tally.ties} undecided")
    if entry.film:
        facts.append(f'<a href="{entry.film}">how it formed</a>')
    settings = html.escape(_visible(json.dumps(dict(entry.params), indent=1, ensure_ascii=False, sort_keys=True)))
    return f"""<figure id="{entry.id}">
{shown}
<figcaption>
<p class="prompt"><bdi>{prompt}</bdi></p>
<p class="meta">{" · ".join(facts)}</p>
<details><summary>Settings</summary><pre><bdi>{settings}</bdi></pre></details>
</figcaption>
</figure>"""


def _visible(text: str) -> str:
    """JSON with its invisible characters written out, so that none can reorder what stands around it."""
    return "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) == "Cf" and ord(c) < 0x10000 else c for c in text)
