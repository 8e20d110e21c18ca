"""Answers for the page: cached within bounds, refusals as text. Knows no Streamlit.

Whatever the catalogue names is shared between visitors; an uploaded model's answer stays with its visitor.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

from .. import counts
from ..answer import verdict
from ..arch import Model
from ..compare import Comparison
from ..errors import RoutelineError, shorten
from . import workers
from .state import HUB, HUB_ID, UPLOAD, Choice
from .view import View
from .view import view as make_view

ANSWERS = 64
VIEWS = 256
PICTURES = 64
"""Entries kept: what fifty visitors look at now, not a history."""


@lru_cache(maxsize=1)
def models() -> tuple[str, ...]:
    """Catalogue names of models with routed experts, sorted."""
    return tuple(name for name in every_model() if _is_moe(name))


@lru_cache(maxsize=1)
def every_model() -> tuple[str, ...]:
    """Every catalogue name that can be counted."""
    from ..models import load_model, model_names

    out = []
    for name in model_names():
        try:
            load_model(name)
        except RoutelineError:
            continue
        out.append(name)
    return tuple(out)


def _is_moe(name: str) -> bool:
    from ..models import load_model

    found = load_model(name)
    return float(counts.active(found).all) < 0.999 * float(counts.total(found)) and any(
        g.experts > 1 for g in found.layers
    )


@lru_cache(maxsize=1)
def devices() -> tuple[str, ...]:
    """Names of devices a roofline describes."""
    from ..devices import device_names, load_device

    return tuple(n for n in device_names() if not load_device(n).footnote)


def cluster(name: str, count: int) -> Any:
    """A cluster from a catalogue name (never a path) and a count."""
    from ..devices import load_device, make_cluster

    if name not in devices():
        raise RoutelineError(f"device {shorten(name, 40)!r} is not in the catalogue")
    return make_cluster(load_device(name), count)


def from_hub(identifier: str) -> Model:
    """A model from the Hugging Face hub, for a page started with --allow-hub. Never a path."""
    from .. import hf
    from ..hub import fetch

    if not HUB_ID.fullmatch(identifier) or ".." in identifier:
        raise RoutelineError(f"{shorten(identifier, 60)!r} is not a Hugging Face id; write owner/name")
    config, side, source = fetch(identifier)
    return hf.parse(config, name=identifier, source=source, quant=side)


@lru_cache(maxsize=32)
def _hub(identifier: str) -> Model:
    return from_hub(identifier)


def answer(choice: Choice, uploaded: Model | None = None, *, allow_hub: bool = False) -> Comparison:
    """The comparison a visitor asked for.

    Raises:
        RoutelineError: anything that has no answer, in one sentence.
    """
    if choice.model == UPLOAD:
        if uploaded is None:
            raise RoutelineError("no config has been uploaded in this session: drop one in, or choose a model")
        return _ask(choice, uploaded)
    if choice.model.startswith(HUB):
        if not allow_hub:
            raise RoutelineError("this page does not fetch from the hub; start it with --allow-hub")
        return _ask(choice, _hub(choice.model[len(HUB) :]))
    return _shared(choice)


@lru_cache(maxsize=ANSWERS)
def _shared(choice: Choice) -> Comparison:
    from ..models import load_model

    if choice.model not in every_model():
        raise RoutelineError(f"model {shorten(choice.model, 40)!r} is not in the catalogue")
    return _ask(choice, load_model(choice.model))


def _ask(choice: Choice, subject: Model) -> Comparison:
    from ..resolve import ask

    if choice.dense not in ("same-attention", "standard") and choice.dense not in every_model():
        raise RoutelineError(f"opponent {shorten(choice.dense, 40)!r} is not in the catalogue")
    return ask(subject, cluster(choice.device, choice.count), **choice.values())


# --- what the page asks for: worked out in a worker where there is one, kept here as text -------------


def view(choice: Choice, uploaded: Model | None = None, *, allow_hub: bool = False) -> View:
    """The answer a visitor asked for, as the page shows it.

    Raises:
        RoutelineError: anything that has no answer, in one sentence.
    """
    if choice.model == UPLOAD:
        return _told(workers.run(_compute_view, choice, uploaded, False))
    return _told(_view(choice, allow_hub))


@lru_cache(maxsize=VIEWS)
def _view(choice: Choice, allow_hub: bool) -> View | str:
    return workers.run(_compute_view, choice, None, allow_hub)


def _compute_view(choice: Choice, uploaded: Model | None, allow_hub: bool) -> View | str:
    """A View, or the refusal as text: exceptions with arguments of their own do not travel between processes."""
    try:
        found = answer(choice, uploaded, allow_hub=allow_hub)
        known: Any = Lazily(found)
        return make_view(found, verdict(found, known), known.request)
    except RoutelineError as error:
        return str(error)


def _told(found: View | str) -> View:
    if isinstance(found, str):
        raise RoutelineError(found)
    return found


def picture(choice: Choice, name: str, uploaded: Model | None = None, **options: str) -> dict[str, Any]:
    """A chart as {title, note, caption, alt, specs, columns}, or {refusal}."""
    chosen = tuple(sorted(options.items()))
    if choice.model == UPLOAD:
        return json.loads(workers.run(_compute_picture, choice, uploaded, name, chosen))
    return json.loads(_picture(choice, name, chosen))


@lru_cache(maxsize=PICTURES)
def _picture(choice: Choice, name: str, options: tuple[tuple[str, str], ...]) -> str:
    """Kept as text: a map as Python objects takes five times the memory."""
    return workers.run(_compute_picture, choice, None, name, options)


def _compute_picture(choice: Choice, uploaded: Model | None, name: str, options: tuple[tuple[str, str], ...]) -> str:
    from .. import plots

    try:
        made = plots.chart(name, answer(choice, uploaded, allow_hub=True), **dict(options))
    except RoutelineError as error:
        return json.dumps({"refusal": str(error)})
    kept = {n: getattr(made, n) for n in ("title", "note", "caption", "alt", "columns")}
    return json.dumps(kept | {"specs": made.panel_specs()})


def file(kind: str, choice: Choice, uploaded: Model | None = None, **options: str) -> bytes:
    """A download, made when it is asked for: report, csv, json, or png:CHART."""
    made = workers.run(_compute_file, kind, choice, uploaded, tuple(sorted(options.items())))
    if isinstance(made, str):
        raise RoutelineError(made)
    return made


def _compute_file(
    kind: str, choice: Choice, uploaded: Model | None, options: tuple[tuple[str, str], ...]
) -> bytes | str:
    from .. import plots

    try:
        found = answer(choice, uploaded, allow_hub=True)
        if kind.startswith("png:"):
            return plots.chart(kind[4:], found, **dict(options)).png()
        return {"report": as_report, "csv": as_csv, "json": as_json}[kind](found)
    except RoutelineError as error:
        return str(error)


def as_json(found: Comparison) -> bytes:
    """The documented JSON of `routeline compare --json`."""
    from ..answer import payload

    return json.dumps(payload(found), indent=2, allow_nan=False, ensure_ascii=False).encode()


def as_csv(found: Comparison) -> bytes:
    """Both sides and every assumption as CSV; a text that a spreadsheet would run as a formula is quoted with '."""
    import csv
    import io

    from ..answer import ratio_rows, side_rows

    def inert(value: Any) -> str:
        text = "" if value is None else str(value)
        return (
            "'" + text if text[:1] in ("=", "+", "@", "\t", "\r") or (text[:1] == "-" and not _number(text)) else text
        )

    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(["kind", "name", "MoE or value", "dense or unit", "source"])
    for name, moe, dense in side_rows(found):
        rows.writerow(["number", *map(inert, (name, moe, dense)), ""])
    for name, value, batches, rates, reason in ratio_rows(found):
        rows.writerow(["ratio", *map(inert, (name, value, f"batch {batches}; tokens/s {rates}", reason))])
    for a in found.assumptions:
        rows.writerow(["assumption", *map(inert, (a.name, a.value, a.unit, a.source))])
    return out.getvalue().encode()


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def as_report(found: Comparison) -> bytes:
    """The self-contained HTML report, made when it is asked for."""
    from .. import report

    return report.as_html(report.document(found)).encode()


class Lazily:
    """What a sentence needs beyond the two sides, each worked out when it is first read (answer.Extras works out
    all of it at once, break-evens included, which a page that must follow within 300 ms has no time for)."""

    def __init__(self, found: Comparison) -> None:
        self._found = found
        asked = found.ratios["request"].detail if "request" in found.ratios else None
        self.illustrated = asked is None
        self._asked = asked

    @cached_property
    def odds(self) -> Any:
        """Over R at the largest batches alone, the one a sentence quotes: the others cost four times as much."""
        from ..odds import odds

        return odds(replace(self._found, ratios={"max_batch": self._found.ratios["max_batch"]}))

    @cached_property
    def break_evens(self) -> Any:
        from ..breakeven import break_evens

        return break_evens(self._found)

    @cached_property
    def request(self) -> Any:
        from ..requests import requests

        return self._asked or requests(self._found)

    @cached_property
    def headline(self) -> Any:
        from ..fair import headline

        return headline(self._found)

    @cached_property
    def choices(self) -> Any:
        from ..fair import what_matters

        return what_matters(self._found)
