"""Pictures of rows: thumbnails of the store, and what stands for one that is not there."""

from __future__ import annotations

import numpy as np

from cli.web.html import Html, h
from cli.web.site import Site
from cli.web.urls import image_url
from featurestore.summary import status_word
from featurestore.table import Table

#: Side of the frame that ``object_boxes`` are measured in, in pixels.
_FRAME = 224

#: The field that counts the bytes of a row's thumbnail.
_SIZE = "thumbnail_size"


def thumbnail(table: Table, row: int) -> bytes | None:
    """JPEG of a row's picture; None where the store has none."""
    if _SIZE not in table:
        return None
    from featurestore import thumbnails

    return thumbnails.thumbnail(table, row)


def have_thumbnails(table: Table, rows: np.ndarray) -> list[bool]:
    """Which rows have one."""
    if _SIZE not in table:
        return [False] * len(rows)
    return (table.gather(_SIZE, rows) > 0).tolist()


def pictures(site: Site, name: str, rows: np.ndarray, *, alt: str = "") -> list[Html]:
    """The picture of each row, or a frame that says why there is none.

    Args:
        alt: what the pictures show; empty where the text beside them says it.
    """
    table = site.store.table(name)
    reasons = _reasons(table, rows)
    return [
        _image(image_url(name, row, site.version), alt) if has else placeholder(reason)
        for row, has, reason in zip(
            rows.tolist(), have_thumbnails(table, rows), reasons, strict=True
        )
    ]


def _image(address: str, alt: str) -> Html:
    return h("img.picture", {"src": address, "alt": alt, "loading": "lazy", "decoding": "async"})


def _reasons(table: Table, rows: np.ndarray) -> list[str]:
    """Why a row has no picture to show."""
    if "image_status" not in table:
        return ["no picture"] * len(rows)
    words = [status_word(code) for code in table.gather("image_status", rows).tolist()]
    return [
        {"ok": "not stored", "missing": "no picture", "unknown": "not stored"}.get(word, word)
        for word in words
    ]


def placeholder(reason: str) -> Html:
    """A quiet frame with a reason in it."""
    drawing = h(
        "svg",
        {"viewBox": "0 0 24 24", "aria-hidden": "true"},
        h("rect", {"x": 3.5, "y": 5.5, "width": 17, "height": 13, "rx": 1.5}),
        h("circle", {"cx": 8.5, "cy": 10, "r": 1.4}),
        h("path", {"d": "M4 17l5-4 3.5 2.5L16 12l4.5 4"}),
    )
    return h("span.picture.none", drawing, h("span", reason))


def boxes(table: Table, row: int) -> list[tuple[float, list[float]]]:
    """(score, [x0, y0, x1, y1] in the 224×224 frame) of each detected object, as stored."""
    if "object_boxes" not in table or "object_scores" not in table:
        return []
    scores = table.gather("object_scores", [row])[0].tolist()
    places = table.gather("object_boxes", [row])[0].tolist()
    return [
        (score, np.clip(np.nan_to_num(place), 0, _FRAME).tolist())
        for score, place in zip(scores, places, strict=True)
        if score > 0
    ]


def boxes_over(found: list[tuple[float, list[float]]]) -> Html:
    """The boxes as a drawing that is stretched over the picture, as the frame was."""
    drawn = [
        h(
            "rect",
            {"x": f"{x0:.1f}", "y": f"{y0:.1f}", "class": f"box box-{place}"},
            {"width": f"{max(x1 - x0, 0):.1f}", "height": f"{max(y1 - y0, 0):.1f}"},
            h("title", f"object {place}: {score:.2f}"),
        )
        for place, (score, (x0, y0, x1, y1)) in enumerate(found, start=1)
    ]
    frame = {"viewBox": f"0 0 {_FRAME} {_FRAME}", "preserveAspectRatio": "none"}
    words = ", ".join(f"{score:.2f}" for score, _ in found)
    return h(
        "svg.boxes",
        frame,
        {"role": "img", "aria-label": f"detected objects, scores {words}"},
        drawn,
    )
