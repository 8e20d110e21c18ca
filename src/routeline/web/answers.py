"""Answers for the page: cached within bounds, refusals as text. Knows no Streamlit.

Whatever the catalogue names is shared between visitors; an uploaded model's answer stays with its visitor.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

from .. import counts
from ..arch import Model
from ..compare import Comparison
from ..errors import RoutelineError, shorten
from .state import HUB, HUB_ID, UPLOAD, Choice

LARGEST = 1_000_000
"""Largest uploaded config [B]."""
DEEPEST = 40
"""Deepest nesting of an uploaded config; published ones stay below 10."""
ANSWERS = 96
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


def read_config(content: bytes, name: str = UPLOAD) -> Model:
    """An uploaded config.json as a Model, read as data only.

    Raises:
        RoutelineError: too large, not JSON, too deep, not an object, or a config that is not understood.
    """
    from .. import hf

    if len(content) > LARGEST:
        raise RoutelineError(f"the file has {len(content):,} bytes; a config.json has at most {LARGEST:,}")
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise RoutelineError("the file is not UTF-8 text, so it is no config.json") from None
    except RecursionError:
        raise RoutelineError("the file is nested too deeply to be a config.json") from None
    except ValueError as error:
        raise RoutelineError(f"the file is not valid JSON ({shorten(error, 60)})") from None
    if not isinstance(value, dict):
        raise RoutelineError("the file holds no JSON object, so it is no config.json")
    _shallow(value)
    try:
        return hf.parse(value, name=shorten(name, 60), source="uploaded")
    except RoutelineError:
        raise
    except (ArithmeticError, RecursionError, MemoryError, TypeError, ValueError, KeyError, AttributeError):
        raise RoutelineError("the config holds values that make no model; check its numbers") from None


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a number")


def _shallow(value: Any) -> None:
    level, here = 0, [value]
    while here:
        level += 1
        if level > DEEPEST:
            raise RoutelineError(f"the config is nested more than {DEEPEST} levels deep")
        here = [
            item
            for holder in here
            for item in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(item, (dict, list))
        ]


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


def picture(choice: Choice, name: str, found: Comparison, **options: str) -> dict[str, Any]:
    """A chart as {title, note, caption, alt, specs}, or {refusal}; shared between visitors for catalogue models."""
    if choice.model == UPLOAD:
        return _draw(name, found, tuple(sorted(options.items())))
    return json.loads(_picture(choice, name, tuple(sorted(options.items()))))


@lru_cache(maxsize=PICTURES)
def _picture(choice: Choice, name: str, options: tuple[tuple[str, str], ...]) -> str:
    """Kept as text: a map as Python objects takes five times the memory."""
    return json.dumps(_draw(name, answer(choice, allow_hub=True), options))


def _draw(name: str, found: Comparison, options: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    from .. import plots

    try:
        made = plots.chart(name, found, **dict(options))
    except RoutelineError as error:
        return {"refusal": str(error)}
    return {
        "title": made.title, "note": made.note, "caption": made.caption, "alt": made.alt,
        "specs": made.panel_specs(), "columns": made.columns,
    }  # fmt: skip


def png(name: str, found: Comparison, **options: str) -> bytes:
    """A chart as PNG, made when it is asked for."""
    from .. import plots

    return plots.chart(name, found, **options).png()


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


def sentence(choice: Choice, found: Comparison) -> str:
    """The verdict in one sentence; shared between visitors for catalogue models."""
    if choice.model == UPLOAD:
        return _say(found)
    return _sentence(choice)


@lru_cache(maxsize=ANSWERS)
def _sentence(choice: Choice) -> str:
    return _say(answer(choice, allow_hub=True))


def _say(found: Comparison) -> str:
    from ..answer import verdict

    known: Any = Lazily(found)
    return verdict(found, known)
