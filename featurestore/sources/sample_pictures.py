"""Drawings of a theme: a figure on a patterned ground, another variant for every picture.

Between two pictures of one theme the figure moves, grows and turns, the pattern shifts, and light
and size change; colours, pattern and shape stay. Needs Pillow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from featurestore.progress import Progress
from featurestore.sources.sample_plan import PictureState
from featurestore.sources.sample_words import COLOURS
from featurestore.sources.sample_world import Stream, Theme, stream

#: Sides of a picture in pixels; chosen here: small enough that 900 take seconds.
SIDES = (96, 160)
#: Side of the frame that boxes are given in (DATASETS.md: boxes are found on the 224×224 picture).
FRAME = 224

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]


class Drawing(NamedTuple):
    """A picture and where its figure stands: x0 y0 x1 y1 in the 224×224 frame."""

    picture: Image.Image
    figure: Box


def draw(theme: Theme, rng: np.random.Generator) -> Drawing:
    """One picture of ``theme``, 96–160 pixels wide and high, RGB."""
    width, height = (int(side) for side in rng.integers(SIDES[0], SIDES[1] + 1, size=2))
    picture = Image.new("RGB", (width, height), COLOURS[theme.ground])
    pen = ImageDraw.Draw(picture)
    _draw_pattern(pen, theme, rng, width, height)
    radius = min(width, height) * rng.uniform(0.26, 0.36)
    middle = (width * rng.uniform(0.38, 0.62), height * rng.uniform(0.38, 0.62))
    _draw_shape(pen, theme.shape, COLOURS[theme.figure], middle, radius, rng.uniform(-0.3, 0.3))
    lit = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.85, 1.15))
    x, y = middle
    corners = (x - radius, y - radius, x + radius, y + radius)
    sides = (width, height, width, height)
    x0, y0, x1, y1 = (
        float(np.clip(c / side, 0, 1) * FRAME) for c, side in zip(corners, sides, strict=True)
    )
    return Drawing(lit, (x0, y0, x1, y1))


def write_picture(
    stem: Path, theme: Theme, state: PictureState, rng: np.random.Generator
) -> Box | None:
    """Draw ``theme`` to the file ``stem`` + suffix as ``state`` says.

    Returns:
        Where the figure stands; None where no picture can be read from the file.
    """
    drawing = draw(theme, rng)
    jpg = stem.with_name(f"{stem.name}.jpg")
    if state == "png":
        drawing.picture.save(stem.with_name(f"{stem.name}.png"), "PNG")
    elif state == "jpg":
        drawing.picture.save(jpg, "JPEG", quality=85)
    elif state == "small":
        drawing.picture.resize((40, 32)).save(jpg, "JPEG", quality=85)
    elif state == "broken":
        jpg.write_bytes(b"\xff\xd8\xff\xe0 cut off")
    return drawing.figure if state in ("jpg", "png") else None


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The pictures of one table: what stands in each place, and where its figure is."""

    kind: Literal["mention", "entity"]
    states: list[PictureState]
    figures: list[Box | None]

    def troubles(self) -> dict[str, int]:
        """How many pictures are missing, broken and too small."""
        words: dict[PictureState, str] = {
            "missing": "missing", "broken": "broken", "small": "too small"
        }  # fmt: skip
        return {
            f"{self.kind} pictures {word}": self.states.count(state)
            for state, word in words.items()
        }


def draw_all(
    *,
    kind: Literal["mention", "entity"],
    themes: Sequence[Theme],
    stems: Sequence[Path],
    states: Sequence[PictureState],
    seed: int,
    progress: Progress,
) -> Drawn:
    """Draw each theme to its file, ``stems`` + suffix, in the state given."""
    purpose: Stream = "mention picture" if kind == "mention" else "entity picture"
    figures: list[Box | None] = []
    with progress.stage(f"{kind} pictures", len(stems), "pictures") as stage:
        for row, (theme, stem, state) in enumerate(zip(themes, stems, states, strict=True)):
            rng = stream(seed, purpose, row)
            stem.parent.mkdir(parents=True, exist_ok=True)
            figures.append(write_picture(stem, theme, state, rng))
            stage.advance(1)
    return Drawn(kind=kind, states=list(states), figures=figures)


def _shade(colour: Colour) -> Colour:
    """The pattern's second colour: the ground's own, darker, or lighter where it is dark already."""
    if max(colour) < 90:
        return tuple(min(255, part + 60) for part in colour)  # type: ignore[return-value]
    return tuple(part * 6 // 10 for part in colour)  # type: ignore[return-value]


def _draw_pattern(
    pen: ImageDraw.ImageDraw, theme: Theme, rng: np.random.Generator, width: int, height: int
) -> None:
    step = int(rng.integers(14, 19))
    shift = int(rng.integers(step))
    second = _shade(COLOURS[theme.ground])
    columns = range(-shift, width, step)
    if theme.pattern == "striped":
        for x in columns[::2]:
            pen.rectangle((x, 0, x + step - 1, height), fill=second)
    elif theme.pattern == "chequered":
        for i, x in enumerate(columns):
            for y in range(-shift + step * (i % 2), height, 2 * step):
                pen.rectangle((x, y, x + step - 1, y + step - 1), fill=second)
    elif theme.pattern == "dotted":
        for x in columns:
            for y in range(-shift, height, step):
                pen.ellipse((x, y, x + step * 2 // 3, y + step * 2 // 3), fill=second)


def _draw_shape(
    pen: ImageDraw.ImageDraw,
    shape: str,
    colour: Colour,
    middle: tuple[float, float],
    radius: float,
    turn: float,
) -> None:
    x, y = middle
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape == "disc":
        pen.ellipse(box, fill=colour)
    elif shape == "ring":
        pen.ellipse(box, outline=colour, width=max(1, round(radius * 0.45)))
    elif shape == "cross":
        for angle in (turn, turn + math.pi / 2):
            tip = (radius * math.cos(angle), radius * math.sin(angle))
            ends = [(x - tip[0], y - tip[1]), (x + tip[0], y + tip[1])]
            pen.line(ends, fill=colour, width=round(radius * 0.6))
    else:
        sides, first = (3, -math.pi / 2) if shape == "triangle" else (4, math.pi / 4)
        angles = [first + turn + 2 * math.pi * side / sides for side in range(sides)]
        corners = [(x + radius * 1.2 * math.cos(a), y + radius * 1.2 * math.sin(a)) for a in angles]
        pen.polygon(corners, fill=colour)
