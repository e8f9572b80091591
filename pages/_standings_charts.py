"""The plots of the leaderboard. Each has its figures in words too, for those who cannot see it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import altair as alt
import streamlit as st

from pages import _widgets as w
from pages._language import _, ngettext
from ratings.bradley_terry import MIDDLE, POINTS_PER_LOGIT
from ratings.setting_effects import Effect
from ratings.standings import Point, Rated, Standings

_ROW_PX = 34
_AXIS_PX = 84
_LABEL_PX = 130


def ratings(rows: Sequence[tuple[str, Rated]]) -> None:
    """One line for each named item, the best first: its rating and the interval around it."""
    values = [
        {
            "name": name,
            "rating": round(rated.rating),
            "low": round(rated.low),
            "high": round(rated.high),
            "votes": rated.votes,
            "pictures": rated.pictures,
        }
        for name, rated in rows
    ]
    words = _in_words(values, "")
    more = [
        alt.Tooltip("votes:Q", title=_("votes"), format=","),
        alt.Tooltip("pictures:Q", title=_("pictures"), format=","),
    ]
    _intervals(values, axis=_("Rating"), middle=MIDDLE, more=more, words=_("Ratings: {ratings}", ratings=words))


def effects(found: Sequence[Effect]) -> None:
    """For each setting, one line for each of its values."""
    for setting, group in groupby(found, key=lambda effect: effect.setting):
        values = [
            {
                "name": effect.value,
                "rating": round(effect.theta * POINTS_PER_LOGIT),
                "low": round(effect.low * POINTS_PER_LOGIT),
                "high": round(effect.high * POINTS_PER_LOGIT),
                "votes": effect.votes,
            }
            for effect in group
        ]
        st.html(f'<div class="t2i-prompt">{w.esc(setting)}</div>')
        words = _in_words(values, "+")
        more = [alt.Tooltip("votes:Q", title=_("votes"), format=",")]
        _intervals(values, axis=_("Points added"), middle=0, more=more, words=f"{setting}: {words}")


def _in_words(values: list[dict[str, Any]], sign: str) -> str:
    return "; ".join(
        f"{v['name']} {v['rating']:{sign}}, {_('{low} to {high}', low=v['low'], high=v['high'])}" for v in values
    )


def _intervals(values: list[dict[str, Any]], *, axis: str, middle: int, more: list[Any], words: str) -> None:
    order = [value["name"] for value in values]
    y = alt.Y("name:N", sort=order, title=None, axis=alt.Axis(labelLimit=_LABEL_PX, grid=False, ticks=False))
    scale = alt.Scale(zero=False, nice=True)
    told = [
        alt.Tooltip("name:N", title=" "),
        alt.Tooltip("rating:Q", title=axis.lower()),
        alt.Tooltip("low:Q", title=_("at least")),
        alt.Tooltip("high:Q", title=_("at most")),
        *more,
    ]
    base = alt.Chart(alt.Data(values=values))
    # A thin bar: the theme gives it a colour for light and for dark, which it does not for a rule.
    line = base.mark_bar(height=4, opacity=0.45).encode(
        x=alt.X("low:Q", title=axis, scale=scale, axis=alt.Axis(tickCount=5, format="d")),
        x2="high:Q",
        y=y,
        tooltip=told,
    )
    dot = base.mark_point(filled=True, size=110, opacity=1).encode(x=alt.X("rating:Q", scale=scale), y=y, tooltip=told)
    centre = alt.Chart(alt.Data(values=[{"at": middle}])).mark_rule(strokeDash=[4, 4], color="gray").encode(x="at:Q")
    chart = alt.layer(centre, line, dot).properties(height=_AXIS_PX + _ROW_PX * len(values))
    st.altair_chart(w.legible(chart), width="stretch", alt=words)


def scatter(found: Sequence[Point]) -> None:
    """CLIP's score against the rating, one mark a picture."""
    values = [
        {
            "score": round(point.score, 4),
            "rating": round(point.rating),
            "engine": w.engine_title(point.engine),
            "votes": point.votes,
        }
        for point in found
    ]
    engines = sorted({w.engine_title(point.engine) for point in found})
    # With the shape too, engines are told apart without colours.
    legend = alt.Legend(title=None, orient="bottom", columns=2, labelLimit=150) if len(engines) > 1 else None
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_point(filled=True, size=55, opacity=0.7)
        .encode(
            x=alt.X("score:Q", title=_("CLIP score"), scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5)),
            y=alt.Y("rating:Q", title=_("Rating"), scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5, format="d")),
            color=alt.Color("engine:N", legend=legend, sort=engines),
            shape=alt.Shape("engine:N", legend=legend, sort=engines),
            tooltip=[
                alt.Tooltip("engine:N", title=_("engine")),
                alt.Tooltip("score:Q", title=_("score")),
                alt.Tooltip("rating:Q", title=_("rating")),
                alt.Tooltip("votes:Q", title=_("votes")),
            ],
        )
        .properties(height=340)
    )
    st.altair_chart(
        w.legible(chart),
        width="stretch",
        alt=ngettext(
            "CLIP score against rating of {n} picture", "CLIP score against rating of {n} pictures", len(values)
        ),
    )


def by_time(found: Standings) -> None:
    """Votes in each span of time."""
    values = [
        {"from": start * 1000, "to": (start + found.bin_s) * 1000, "votes": votes, "none": 0}
        for start, votes in found.by_time
    ]
    span_s = found.bin_s * len(values)
    times = "%H:%M" if span_s < 36 * 3600 else "%d %b" if span_s < 300 * 86400 else "%b %Y"
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_bar()
        .encode(
            x=alt.X("from:T", title=None, axis=alt.Axis(grid=False, tickCount=5, format=times)),
            x2="to:T",
            y=alt.Y("votes:Q", title=_("Votes"), axis=alt.Axis(tickCount=4, tickMinStep=1, format="d")),
            y2="none:Q",
            tooltip=[
                alt.Tooltip("from:T", title=_("from"), format="%d %b, %H:%M"),
                alt.Tooltip("to:T", title=_("until"), format="%d %b, %H:%M"),
                alt.Tooltip("votes:Q", title=_("votes")),
            ],
        )
        .properties(height=200)
    )
    most = max(value["votes"] for value in values)
    span = w.duration(found.bin_s)
    words = ngettext(
        "{n} vote by time, at most {most} in {span}",
        "{n} votes by time, at most {most} in {span}",
        found.votes,
        most=most,
        span=span,
    )
    st.altair_chart(w.legible(chart), width="stretch", alt=words)
