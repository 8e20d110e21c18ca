"""One chart with its caption: what every chart function returns, and how it becomes a file."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RoutelineError
from . import theme

FORMATS = ("png", "svg", "html", "json")
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.1.0.json"
"""Names the language of a specification; nothing is fetched from there."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart: one or more Altair panels, a title, and a caption that carries assumptions and units.

    name: the chart's key in `routeline plot`. alt: one sentence for those who cannot see it.
    columns: panels side by side in a file (the page stacks them). note: what to read off the chart.
    shared: colours and dashes mean the same in every panel, so one legend serves all.
    """

    name: str
    title: str
    caption: str
    alt: str
    panels: tuple[Any, ...]
    note: str = ""
    columns: int = 1
    shared: bool = True

    def spec(self, *, dressed: bool = True) -> dict[str, Any]:
        """The Vega-Lite specification in the house theme; dressed: with title, note and caption in the picture."""
        wide = max(_width(p) for p in self.panels) * min(self.columns, len(self.panels))
        characters = max(60, int(wide / 5.4))
        panels = [panel_spec(p) for p in self.panels]
        inner: dict[str, Any] = panels[0] if len(panels) == 1 else {"concat": panels, "columns": self.columns}
        if len(panels) > 1:
            inner["spacing"] = 28
        channels = ("color", "fill", "shape", "strokeDash", "opacity", "fillOpacity")
        own = {"resolve": {kind: dict.fromkeys(channels, "independent") for kind in ("scale", "legend")}}
        if not self.shared:
            inner |= own
        common = {"$schema": SCHEMA, "config": theme.config(), "padding": 14, "description": self.alt}
        if not dressed:
            return common | {"padding": 3, "vconcat": [inner], **own}
        head = {"text": theme.wrap(self.title, int(characters * 0.72)), "fontSize": 15, "frame": "bounds"}
        if self.note:
            head |= {"subtitle": theme.wrap(self.note, characters)}
        foot = {
            "text": theme.wrap(self.caption, int(characters * 1.12)),
            "orient": "bottom",
            "anchor": "start",
            "fontSize": 10,
            "fontWeight": "normal",
            "color": theme.MUTED,
            "offset": 16,
            "frame": "bounds",
        }
        return common | {"title": foot, "vconcat": [{"title": head, "vconcat": [inner], **own}], **own}

    def panel_specs(self) -> list[dict[str, Any]]:
        """Each panel as a specification of its own, without title or caption: the page sets those in its own type."""
        return [panel_spec(p) | {"config": theme.config()} for p in self.panels]

    def rows(self) -> list[dict[str, Any]]:
        """Every data row drawn, in order of first use."""
        return _values([panel_spec(p) for p in self.panels])

    def png(self, scale: float = 2.0) -> bytes:
        """The chart as PNG, rendered without a browser or the network."""
        import vl_convert

        return vl_convert.vegalite_to_png(self.spec(), scale=scale, allowed_base_urls=[])

    def svg(self, *, dressed: bool = True) -> str:
        """The chart as SVG, rendered without a browser or the network; dressed: with title, note and caption."""
        import vl_convert

        return vl_convert.vegalite_to_svg(self.spec(dressed=dressed), allowed_base_urls=[])

    def html(self) -> str:
        """One self-contained interactive page: works offline, names in it are inert text."""
        import vl_convert

        options = "{ast: true, actions: {export: true, source: false, compiled: false, editor: false}}"
        read = 'const spec = JSON.parse(document.getElementById("spec").textContent);'
        script = vl_convert.javascript_bundle(f'{read} vegaEmbed("#chart", spec, {options});')
        body = json.dumps(self.spec()).replace("<", "\\u003c")
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self.title)}</title></head>\n<body>\n"
            f'<div id="chart" role="img" aria-label="{html.escape(self.alt)}"></div>\n'
            f'<script type="application/json" id="spec">{body}</script>\n'
            f'<script type="module">\n{script}\n</script>\n</body></html>\n'
        )

    def image(self, *, dressed: bool = True) -> str:
        """The chart as an HTML image that carries itself: inert, and it fetches nothing."""
        data = base64.b64encode(self.svg(dressed=dressed).encode()).decode()
        return f'<img alt="{html.escape(self.alt)}" src="data:image/svg+xml;base64,{data}">'

    def save(self, path: str | Path) -> Path:
        """Write the chart; the ending says how (.png, .svg, .html or .json, the bare specification).

        Raises:
            RoutelineError: another ending, or a place that cannot be written.
        """
        target = Path(path)
        ending = target.suffix.lower().lstrip(".")
        if ending not in FORMATS:
            raise RoutelineError(f"cannot draw {target.name!r}: end the file name with .png, .svg, .html or .json")
        if ending == "png":
            content = self.png()
        elif ending == "json":
            content = json.dumps(self.spec(), indent=1).encode()
        else:
            content = (self.svg() if ending == "svg" else self.html()).encode()
        return write(target, content)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"image/svg+xml": self.svg(), "text/plain": f"{self.title}\n{self.caption}"}


def write(target: Path, content: bytes) -> Path:
    """Write a whole file or none.

    Raises:
        RoutelineError: the folder does not exist or cannot be written.
    """
    import os
    import tempfile

    if not target.parent.is_dir():
        raise RoutelineError(f"cannot write {target}: the folder {target.parent} does not exist; create it first")
    if target.is_dir():
        raise RoutelineError(f"cannot write {target}: it is a folder; give a file name")
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except OSError as error:
        raise RoutelineError(f"cannot write {target}: {error.strerror or error}") from None
    return target


def panel_spec(panel: Any) -> dict[str, Any]:
    """A panel's Vega-Lite dictionary; Altair's validation is left to the tests, it costs more than the drawing."""
    spec = panel.to_dict(validate=False)
    return {k: v for k, v in spec.items() if k not in ("$schema", "config")}


def _width(panel: Any) -> float:
    width = getattr(panel, "width", None)
    return float(width) if isinstance(width, (int, float)) else theme.WIDTH


def _values(spec: Any) -> list[dict[str, Any]]:
    """Every inline data row of a specification, depth first."""
    if isinstance(spec, list):
        return [row for item in spec for row in _values(item)]
    if not isinstance(spec, dict):
        return []
    own = spec.get("data", {}).get("values", []) if isinstance(spec.get("data"), dict) else []
    return [*own, *(row for key, item in spec.items() if key != "data" for row in _values(item))]
