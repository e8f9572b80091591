"""Cutouts after Disco Diffusion: so many of the whole picture and so many inside it, by noise level."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from generator.params.base import Setting
from generator.params.schedules import Schedule, ScheduleError, parse_schedule

_BOUNDS = {  # least, most, whole numbers only
    "cut_overview": (0, 256, True),
    "cut_innercut": (0, 256, True),
    "cut_ic_pow": (0.01, 100, False),
    "cut_icgray_p": (0, 1, False),
}
_POINTS = 1000  # parts of the way: the timesteps models are trained on


@dataclass(frozen=True)
class Cuts:
    """Cutouts of one moment: of the whole picture, inside it, the power of the inner ones' sizes, how many are grey."""

    overview: int
    inner: int
    power: float
    grey: float


class ScheduledCuts(BaseModel):
    """Overview and inner cuts with schedules; where neither is given, `cutn` cutouts of any size are drawn."""

    cut_overview: str = Setting(
        "",
        group="cutouts",
        max_length=500,
        description="Schedule of cutouts of the whole picture, as [12]*400+[4]*600; instead of cutn.",
    )
    cut_innercut: str = Setting(
        "",
        group="cutouts",
        max_length=500,
        description="Schedule of cutouts inside the picture, as [4]*400+[12]*600; instead of cutn.",
    )
    cut_ic_pow: str = Setting(
        "1", group="cutouts", max_length=500, description="Schedule: above 1 favours small inner cuts."
    )
    cut_icgray_p: str = Setting(
        "[0.2]*400+[0]*600", group="cutouts", max_length=500, description="Schedule: share of inner cuts made grey."
    )

    @property
    def cuts_scheduled(self) -> bool:
        """Whether cutouts follow schedules rather than `cutn`."""
        return bool(self.cut_overview.strip() or self.cut_innercut.strip())

    @property
    def max_cuts(self) -> int:
        """The greatest number of cutouts at any moment of the schedules."""
        return max(cuts.overview + cuts.inner for _, cuts in self._moments())

    def _moments(self) -> list[tuple[float, Cuts]]:
        """(share of the way, cuts from there on) wherever the number of cuts changes."""
        places = self._schedule("cut_overview").changes(_POINTS) | self._schedule("cut_innercut").changes(_POINTS)
        return [(place / _POINTS, self.cuts_at(place, _POINTS)) for place in sorted(places)]

    def cuts_at(self, done: int, of: int) -> Cuts:
        """The cuts where `done` of `of` parts of the way from noise to picture are behind."""
        overview, inner, power, grey = (self._schedule(name).at(done, of) for name in _BOUNDS)
        return Cuts(int(overview), int(inner), power, grey)

    def _schedule(self, name: str) -> Schedule:
        minimum, maximum, whole = _BOUNDS[name]
        return parse_schedule(getattr(self, name).strip() or "0", minimum=minimum, maximum=maximum, whole=whole)

    def check_cuts(self) -> None:
        """Raises ValueError that names the schedule and shows where it cannot be read."""
        for name, (minimum, maximum, _) in _BOUNDS.items():
            empty = not getattr(self, name).strip()
            if empty and name not in ("cut_overview", "cut_innercut"):
                raise ValueError(f"{name} is empty. Write a number from {minimum:g} to {maximum:g}, or a schedule.")
            try:
                self._schedule(name)
            except ScheduleError as error:
                raise ValueError(f"{name} = {error}") from None
        if self.cuts_scheduled:
            for share, cuts in self._moments():
                if not cuts.overview + cuts.inner:
                    raise ValueError(
                        f"cut_overview and cut_innercut leave no cutout at {share:.0%} of the way. "
                        "Give one of them at least 1 there."
                    )
