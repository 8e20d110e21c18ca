"""Where the words of a picture stand: text boxes of a rendered specification, for finding collisions and cuts."""

from dataclasses import dataclass

import vl_convert

NARROW = "iljtfrI.,:;'|()[]/ 1"
EM = 0.5
"""Mean width of a character over the font size (Arial and its like); narrow ones have half of it."""


@dataclass(frozen=True)
class Box:
    text: str
    x0: float
    y0: float
    x1: float
    y1: float

    def meets(self, other, slack=1.5):
        return (
            min(self.x1, other.x1) - max(self.x0, other.x0) > slack
            and min(self.y1, other.y1) - max(self.y0, other.y0) > slack
        )


def boxes(spec):
    """(width, height, every text shown) of a Vega-Lite specification, in its own pixels."""
    found = vl_convert.vegalite_to_scenegraph(spec, allowed_base_urls=[])
    out = []
    _walk(found["scenegraph"], *found["origin"], out)
    seen = {(round(b.x0, 1), round(b.y0, 1), b.text): b for b in out}  # a halo and its text are one
    return found["width"], found["height"], list(seen.values())


def _walk(mark, x, y, out):
    for item in mark.get("items", []):
        if mark.get("marktype") == "text":
            out += _text(item, x, y)
        if mark.get("marktype") == "group":
            for child in item.get("items", []):
                _walk(child, x + item.get("x", 0), y + item.get("y", 0), out)


def _width(text, size):
    return sum(size * EM * (0.55 if c in NARROW else 1.0) for c in text)


def _text(item, x, y):
    lines = item.get("text", "")
    lines = [str(line) for line in (lines if isinstance(lines, list) else [lines])]
    if item.get("opacity", 1) == 0 or not "".join(lines).strip():
        return []
    size = item.get("fontSize", 11)
    width, height = max(_width(t, size) for t in lines), size * 0.72 + (len(lines) - 1) * (size + 2)
    left = {"right": -width, "center": -width / 2}.get(item.get("align", "left"), 0.0)
    top = {"top": 0.0, "line-top": 0.0, "middle": -height / 2, "bottom": -height}.get(
        item.get("baseline", "alphabetic"), -height
    )
    left, top = left + item.get("dx", 0), top + item.get("dy", 0)
    at_x, at_y = x + item.get("x", 0), y + item.get("y", 0)
    if item.get("angle", 0) in (-90, 270):  # turned anticlockwise: right becomes up
        return [Box(" ".join(lines), at_x + top, at_y - left - width, at_x + top + height, at_y - left)]
    return [Box(" ".join(lines), at_x + left, at_y + top, at_x + left + width, at_y + top + height)]


def collisions(spec):
    """Pairs of texts that run into each other."""
    _, _, found = boxes(spec)
    return [(a.text, b.text) for i, a in enumerate(found) for b in found[i + 1 :] if a.meets(b)]


def cut(spec, slack=1.0):
    """Texts that stick out of the picture."""
    width, height, found = boxes(spec)
    return [b.text for b in found
            if b.x0 < -slack or b.y0 < -slack or b.x1 > width + slack or b.y1 > height + slack]  # fmt: skip
