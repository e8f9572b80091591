"""The plots of the leaderboard. Each has its figures in words too, for those who cannot see it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import streamlit as st

from pages.shared.charts import legible
from pages.shared.language import _, ngettext
from pages.shared.text import duration, esc
from ratings.bradley_terry import MIDDLE, POINTS_PER_LOGIT
from ratings.setting_effects import Effect
from ratings.standings import Point, Rated, Standings
from studio.engines import engine_title

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
    more = [_tooltip("votes", _("votes"), ","), _tooltip("pictures", _("pictures"), ",")]
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
        st.html(f'<div class="t2i-prompt">{esc(setting)}</div>')
        words = _in_words(values, "+")
        more = [_tooltip("votes", _("votes"), ",")]
        _intervals(values, axis=_("Points added"), middle=0, more=more, words=f"{setting}: {words}")


def _in_words(values: list[dict[str, Any]], sign: str) -> str:
    return "; ".join(
        f"{v['name']} {v['rating']:{sign}}, {_('{low} to {high}', low=v['low'], high=v['high'])}" for v in values
    )


def _intervals(values: list[dict[str, Any]], *, axis: str, middle: int, more: list[Any], words: str) -> None:
    name = {
        **{"field": "name", "type": "nominal", "sort": [value["name"] for value in values], "title": None},
        "axis": {"labelLimit": _LABEL_PX, "grid": False, "ticks": False},
    }
    tooltips = [
        {"field": "name", "type": "nominal", "title": " "},
        _tooltip("rating", axis.lower()),
        _tooltip("low", _("at least")),
        _tooltip("high", _("at most")),
        *more,
    ]
    scale = {"zero": False, "nice": True}
    low = {**_number("low", axis), "scale": scale, "axis": {"tickCount": 5, "format": "d"}}
    rating = {**_number("rating", axis), "scale": scale}
    chart: dict[str, Any] = {
        "data": {"values": values},
        "layer": [
            {
                "data": {"values": [{"at": middle}]},
                "mark": {"type": "rule", "strokeDash": [4, 4], "color": "gray"},
                "encoding": {"x": _number("at", axis)},
            },
            {
                # A thin bar: the theme gives it a colour for light and for dark, which it does not for a rule.
                "mark": {"type": "bar", "height": 4, "opacity": 0.45},
                "encoding": {"x": low, "x2": {"field": "high"}, "y": name, "tooltip": tooltips},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
                "encoding": {"x": rating, "y": name, "tooltip": tooltips},
            },
        ],
        "height": _AXIS_PX + _ROW_PX * len(values),
    }
    st.vega_lite_chart(legible(chart), width="stretch", alt=words)


def _number(field: str, title: str) -> dict[str, Any]:
    return {"field": field, "type": "quantitative", "title": title}


def _tooltip(field: str, title: str, form: str | None = None) -> dict[str, Any]:
    """A line of a tooltip: a number in this format."""
    return _number(field, title) | ({"format": form} if form else {})


def scatter(found: Sequence[Point]) -> None:
    """CLIP's score against the rating, one mark a picture."""
    values = [
        {
            "score": round(point.score, 4),
            "rating": round(point.rating),
            "engine": engine_title(point.engine),
            "votes": point.votes,
        }
        for point in found
    ]
    engines = sorted({engine_title(point.engine) for point in found})
    # With the shape too, engines are told apart without colours.
    legend = {"title": None, "orient": "bottom", "columns": 2, "labelLimit": 150} if len(engines) > 1 else None
    engine = {"field": "engine", "type": "nominal", "legend": legend, "sort": engines}
    loose = {"zero": False}
    chart: dict[str, Any] = {
        "data": {"values": values},
        "mark": {"type": "point", "filled": True, "size": 55, "opacity": 0.7},
        "encoding": {
            "x": {**_number("score", _("CLIP score")), "scale": loose, "axis": {"tickCount": 5}},
            "y": {**_number("rating", _("Rating")), "scale": loose, "axis": {"tickCount": 5, "format": "d"}},
            "color": engine,
            "shape": engine,
            "tooltip": [
                {"field": "engine", "type": "nominal", "title": _("engine")},
                _tooltip("score", _("score")),
                _tooltip("rating", _("rating")),
                _tooltip("votes", _("votes")),
            ],
        },
        "height": 340,
    }
    st.vega_lite_chart(
        legible(chart),
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
    chart: dict[str, Any] = {
        "data": {"values": values},
        "mark": "bar",
        "encoding": {
            "x": {**_time("from", None), "axis": {"grid": False, "tickCount": 5, "format": times}},
            "x2": {"field": "to"},
            "y": {**_number("votes", _("Votes")), "axis": {"tickCount": 4, "tickMinStep": 1, "format": "d"}},
            "y2": {"field": "none"},
            "tooltip": [
                _time("from", _("from"), "%d %b, %H:%M"),
                _time("to", _("until"), "%d %b, %H:%M"),
                _tooltip("votes", _("votes")),
            ],
        },
        "height": 200,
    }
    most = max(value["votes"] for value in values)
    span = duration(found.bin_s)
    words = ngettext(
        "{n} vote by time, at most {most} in {span}",
        "{n} votes by time, at most {most} in {span}",
        found.votes,
        most=most,
        span=span,
    )
    st.vega_lite_chart(legible(chart), width="stretch", alt=words)


def _time(field: str, title: str | None, form: str | None = None) -> dict[str, Any]:
    return {"field": field, "type": "temporal", "title": title} | ({"format": form} if form else {})
