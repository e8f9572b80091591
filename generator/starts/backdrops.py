"""Backgrounds of scenes, drawn as plainly as the emoji that stand before them: a place, a colour, weather.

Drawn on a square of UNITS x UNITS, as large as the picture is to be times SHARPER, and brought down to its px.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from generator.images.convert import to_tensor
from generator.wording.scene_words import RAMPS

SHARPER = 4
Colour = tuple[int, int, int]
SKY: tuple[Colour, Colour] = ((120, 190, 245), (205, 232, 252))
NIGHT: tuple[Colour, Colour] = ((14, 22, 66), (46, 62, 128))


class _Sheet:
    """A picture of `width` x `height` px to draw on in shares of its sides."""

    def __init__(self, width: int, height: int, seed: int) -> None:
        self.width, self.height = width * SHARPER, height * SHARPER
        self.image = Image.new("RGB", (self.width, self.height), "white")
        self.pen = ImageDraw.Draw(self.image)
        self.draw = random.Random(seed)

    def fade(self, above: Colour, below: Colour, top: float = 0.0, bottom: float = 1.0) -> None:
        first, last = round(top * self.height), round(bottom * self.height)
        for y in range(first, last):
            share = (y - first) / max(1, last - first)
            colour = tuple(round(a + (b - a) * share) for a, b in zip(above, below, strict=True))
            self.pen.line([(0, y), (self.width, y)], fill=colour)

    def block(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        box = (left * self.width, top * self.height, right * self.width, bottom * self.height)
        self.pen.rectangle(box, fill=colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour, flat: float = 1.0) -> None:
        side = min(self.width, self.height)
        x, y, across, down = x * self.width, y * self.height, radius * side, radius * side * flat
        self.pen.ellipse((x - across, y - down, x + across, y + down), fill=colour)

    def shape(self, points: list[tuple[float, float]], colour: Colour) -> None:
        self.pen.polygon([(x * self.width, y * self.height) for x, y in points], fill=colour)

    def stroke(self, x: float, y: float, to_x: float, to_y: float, colour: Colour, wide: float) -> None:
        ends = [(x * self.width, y * self.height), (to_x * self.width, to_y * self.height)]
        self.pen.line(ends, fill=colour, width=max(1, round(wide * min(self.width, self.height))))

    def stars(self, count: int, bottom: float = 1.0) -> None:
        for _ in range(count):
            x, y, size = self.draw.random(), self.draw.random() * bottom, self.draw.uniform(0.006, 0.013)
            self.disc(x, y, size, (255, 246, 200))

    def clouds(self, count: int, bottom: float) -> None:
        for _ in range(count):
            x, y = self.draw.random(), self.draw.uniform(0.06, bottom)
            for across, size in ((-0.07, 0.045), (0.0, 0.065), (0.08, 0.045)):
                self.disc(x + across, y, size, (255, 255, 255), 0.75)


def _night(sheet: _Sheet) -> None:
    sheet.fade(*NIGHT)
    sheet.stars(26)


def _space(sheet: _Sheet) -> None:
    sheet.fade((8, 8, 26), (30, 20, 62))
    sheet.stars(34)


def _sky(sheet: _Sheet) -> None:
    sheet.fade(*SKY)
    sheet.clouds(4, 0.9)


def _grass(sheet: _Sheet) -> None:
    sheet.fade(*SKY, bottom=0.68)
    sheet.clouds(2, 0.3)
    sheet.fade((126, 200, 80), (92, 168, 60), 0.68)


def _sea(sheet: _Sheet) -> None:
    sheet.fade(*SKY, bottom=0.6)
    sheet.fade((70, 150, 225), (25, 95, 175), 0.6)
    for row in range(4):
        for x in range(5):
            left = x / 4 - 0.1 + 0.1 * (row % 2) + sheet.draw.uniform(-0.03, 0.03)
            sheet.stroke(left, 0.67 + 0.085 * row, left + 0.1, 0.67 + 0.085 * row, (150, 205, 250), 0.014)


def _underwater(sheet: _Sheet) -> None:
    sheet.fade((90, 190, 235), (15, 80, 160), bottom=0.9)
    sheet.fade((225, 205, 150), (205, 180, 120), 0.9)
    for _ in range(9):
        sheet.disc(sheet.draw.random(), sheet.draw.uniform(0.05, 0.8), sheet.draw.uniform(0.008, 0.02), (190, 230, 250))


def _moon(sheet: _Sheet) -> None:
    sheet.fade((8, 10, 32), (28, 30, 66))
    sheet.stars(22, 0.6)
    sheet.disc(0.5, 1.55, 0.85, (200, 202, 208))
    for _ in range(5):
        sheet.disc(
            sheet.draw.random(), sheet.draw.uniform(0.84, 0.97), sheet.draw.uniform(0.03, 0.06), (168, 170, 178), 0.4
        )


def _moonlight(sheet: _Sheet) -> None:
    _night(sheet)
    sheet.disc(0.5, 0.48, 0.42, (250, 240, 190))
    for _ in range(4):
        x, y = sheet.draw.uniform(0.3, 0.7), sheet.draw.uniform(0.25, 0.7)
        sheet.disc(x, y, 0.045, (235, 220, 160))


def _city(sheet: _Sheet) -> None:
    sheet.fade(*SKY)
    left = -0.05
    while left < 1.0:
        wide, high = sheet.draw.uniform(0.12, 0.2), sheet.draw.uniform(0.3, 0.62)
        grey = sheet.draw.randint(105, 165)
        sheet.block(left, 0.86 - high, left + wide, 0.86, (grey, grey + 8, grey + 24))
        for row in range(int(high / 0.12)):
            for column in (0.25, 0.65):
                x, y = left + column * wide, 0.86 - high + 0.05 + 0.12 * row
                sheet.block(x, y, x + 0.03, y + 0.04, (255, 232, 150))
        left += wide + 0.01
    sheet.block(0, 0.86, 1, 1, (92, 96, 104))


def _forest(sheet: _Sheet) -> None:
    sheet.fade(*SKY, bottom=0.75)
    for row, colour in ((0.0, (70, 140, 85)), (0.08, (48, 115, 66))):
        for number in range(6):
            x, high = number / 5 + row + sheet.draw.uniform(-0.03, 0.03), sheet.draw.uniform(0.38, 0.55)
            foot = 0.76 + row
            sheet.shape([(x - 0.13, foot), (x + 0.13, foot), (x, foot - high)], colour)
    sheet.fade((96, 160, 70), (70, 130, 52), 0.78)


def _desert(sheet: _Sheet) -> None:
    sheet.fade((140, 205, 250), (250, 235, 200), bottom=0.66)
    sheet.disc(0.82, 0.16, 0.09, (255, 205, 60))
    sheet.fade((240, 205, 125), (222, 178, 95), 0.66)
    sheet.disc(0.2, 0.8, 0.4, (232, 192, 108), 0.35)


def _beach(sheet: _Sheet) -> None:
    sheet.fade(*SKY, bottom=0.5)
    sheet.fade((60, 150, 225), (110, 200, 230), 0.5, 0.7)
    sheet.fade((246, 222, 160), (232, 200, 130), 0.7)


def _snow(sheet: _Sheet) -> None:
    sheet.fade((150, 195, 235), (215, 232, 246), bottom=0.7)
    sheet.fade((250, 252, 255), (228, 238, 248), 0.7)
    _snowfall(sheet)


def _mountains(sheet: _Sheet) -> None:
    sheet.fade(*SKY, bottom=0.78)
    for x, high, wide in ((0.22, 0.5, 0.34), (0.78, 0.58, 0.38), (0.5, 0.4, 0.3)):
        sheet.shape([(x - wide, 0.8), (x + wide, 0.8), (x, 0.8 - high)], (118, 132, 158))
        tip = 0.3
        sheet.shape(
            [(x - wide * tip, 0.8 - high * (1 - tip)), (x + wide * tip, 0.8 - high * (1 - tip)), (x, 0.8 - high)],
            (246, 250, 255),
        )
    sheet.fade((126, 190, 90), (92, 158, 66), 0.78)


def _sunset(sheet: _Sheet) -> None:
    sheet.fade((120, 70, 150), (255, 150, 80), bottom=0.72)
    sheet.disc(0.5, 0.62, 0.16, (255, 225, 110))
    sheet.fade((120, 80, 96), (72, 48, 72), 0.72)


def _table(sheet: _Sheet) -> None:
    sheet.fade((238, 232, 222), (226, 216, 202), bottom=0.72)
    sheet.fade((186, 128, 76), (150, 98, 54), 0.72)
    sheet.block(0, 0.72, 1, 0.745, (210, 156, 100))


def _rain(sheet: _Sheet) -> None:
    for _ in range(34):
        x, y = sheet.draw.uniform(-0.05, 1.05), sheet.draw.uniform(-0.05, 1.0)
        sheet.stroke(x, y, x - 0.025, y + 0.09, (96, 160, 225), 0.014)


def _snowfall(sheet: _Sheet) -> None:
    for _ in range(26):
        sheet.disc(sheet.draw.random(), sheet.draw.random(), sheet.draw.uniform(0.011, 0.02), (255, 255, 255))


DRAWN: dict[str, Callable[[_Sheet], None]] = {
    "night": _night, "space": _space, "sky": _sky, "grass": _grass, "sea": _sea, "underwater": _underwater,
    "moon": _moon, "moonlight": _moonlight, "city": _city, "forest": _forest, "desert": _desert, "beach": _beach,
    "snow": _snow, "mountains": _mountains, "sunset": _sunset, "table": _table,
}  # fmt: skip
GREY_SKY: dict[str, tuple[Colour, Colour]] = {
    "rain": ((168, 184, 204), (212, 222, 232)),
    "snowfall": ((150, 180, 215), (205, 222, 238)),
    "fog": ((205, 210, 215), (230, 232, 235)),
}


def backdrop(place: str | None, weather: str | None, width: int, height: int, seed: int) -> Tensor:
    """A background (3, height, width) in [0, 1]: a row of PLACES or RAMPS, with a row of WEATHER; None for white."""
    sheet = _Sheet(width, height, seed)
    if place in DRAWN:
        DRAWN[place](sheet)
    elif place is not None:
        sheet.block(0, 0, 1, 1, RAMPS[place][1])
    elif weather is not None:
        sheet.fade(*GREY_SKY[weather])
    if weather == "rain":
        _rain(sheet)
    elif weather == "snowfall":
        _snowfall(sheet)
    made = to_tensor(sheet.image.resize((width, height), Image.Resampling.BOX))
    return torch.lerp(made, torch.ones_like(made) * 0.9, 0.55) if weather == "fog" else made
