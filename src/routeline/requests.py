"""Whole requests: prefill of the uncached prompt plus decode of the output, on both sides.

Cost is seconds of the whole cluster per request, so throughput is its inverse and R = MoE cost over
dense cost. Decode runs at the mean context of a request's life (input + output/2) and at the largest
batch admissible there; prefill and decode share the devices and the layout (no disaggregation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from . import layouts, prefill, side
from .counts import Counted
from .errors import RoutelineError
from .numeric import maximum
from .scenario import Efficiency, Layout, Scenario, Workload
from .side import TIE, Ground

if TYPE_CHECKING:
    from .compare import Comparison, Side

OUTPUT = 1024.0
"""Output tokens where only a prompt is known [tokens]; kind guess, said wherever it is used."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A request: prompt tokens, output tokens, share of the prompt found in the prefix cache.

    assumed: the names nobody gave.
    """

    input: Any
    output: Any
    prefix_hit: Any = 0.0
    assumed: tuple[str, ...] = ()

    @property
    def new(self) -> Any:
        """Prompt tokens to compute [-]; at least the last one, whatever is cached."""
        return maximum(self.input * (1.0 - self.prefix_hit), 1.0)

    @property
    def cached(self) -> Any:
        return maximum(self.input - self.new, 0.0)

    def __str__(self) -> str:
        hit = f", {float(self.prefix_hit):.0%} prefix hits" if float(self.prefix_hit) else ", no prefix hits"
        return f"{int(self.input):,} in, {int(self.output):,} out{hit}"


def shape_of(scenario: Scenario, *, illustrate: bool = False) -> Shape | None:
    """The request of a scenario; None when it names none (or context in, 1k out with `illustrate`).

    Raises:
        RoutelineError: fewer than one token in or out.
    """
    if scenario.input is None and scenario.output is None and not illustrate:
        return None
    assumed = tuple(n for n in ("input", "output") if getattr(scenario, n) is None)
    given = Shape(
        input=float(scenario.context) if scenario.input is None else scenario.input,
        output=OUTPUT if scenario.output is None else scenario.output,
        prefix_hit=scenario.prefix_hit, assumed=assumed,
    )  # fmt: skip
    if np.any(np.asarray(given.output, float) < 1) or np.any(np.asarray(given.input, float) < 1):
        raise RoutelineError("a request has at least 1 token in and 1 out; give --input and --output of 1 or more")
    return given


def computing(efficiency: Efficiency) -> Efficiency:
    """The tier with compute counted: prefill is compute-bound, so a tier that leaves it out runs at peak."""
    if np.isinf(efficiency.compute.get("", 1.0)):
        return replace(efficiency, compute={"": 1.0})
    return efficiency


def decode_workload(counted: Counted, ground: Ground, shape: Shape) -> Workload:
    """Decode at the mean context of a request's life; an encoder-decoder keeps its prompt in the encoder."""
    if any(op.encoder for op in counted.operations):
        return replace(ground.workload, context=shape.output / 2.0, inputs=shape.input)
    return replace(ground.workload, context=shape.input + shape.output / 2.0)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of the whole cluster for one request [s], by phase; arrays broadcast over layout and shape.

    mixed: the same work when every step carries decode and prefill tokens together (chunked prefill).
    first_token: one prompt alone on an idle cluster [s].
    """

    layout: Layout
    batch: Any
    max_batch: Any
    prefill: Any
    decode: Any
    mixed: Any = None
    first_token: Any = None

    @property
    def total(self) -> Any:
        return self.prefill + self.decode

    @property
    def prefill_share(self) -> Any:
        """Share of the request's time that is prefill [-]."""
        return self.prefill / self.total

    @property
    def rate(self) -> Any:
        """Requests per second over all devices [1/s]."""
        return 1.0 / self.total


def cost(
    counted: Counted, ground: Ground, layout: Layout, shape: Shape, *, batch: Any = None, chunk: Any = prefill.CHUNK
) -> Cost:
    """Cost of a request in a layout (arrays broadcast); inf where not even one sequence fits."""
    work = decode_workload(counted, ground, shape)
    limit = side.max_batch(counted, ground, layout, work)
    chosen = limit if batch is None else batch
    fits = limit >= maximum(chosen, 1.0)
    used = maximum(chosen, 1.0)
    step = side.step_at(counted, ground, layout, used, work)
    decode = shape.output * step.seconds / (used * work.accepted)
    first = prefill.prefill(
        counted, ground.rates, layout, shape.new, computing(ground.efficiency), ground.routing,
        cached=shape.cached, chunk=chunk, attention_format=ground.attention_format,
    )  # fmt: skip
    nowhere = np.where(fits, 0.0, np.inf) if np.ndim(fits) else (0.0 if fits else np.inf)
    return Cost(
        layout=layout, batch=chosen, max_batch=limit, prefill=first.per_request + nowhere, decode=decode + nowhere
    )


def mixed_cost(
    counted: Counted, ground: Ground, layout: Layout, shape: Shape, batch: Any, chunk: Any = prefill.CHUNK
) -> Any:
    """Cluster seconds per request when steps mix both phases in the steady state [s].

    With B sequences in flight a rank prefills B_rank * new prompt tokens while its sequences take their
    output/accepted steps. That work rides on decode steps, `chunk` prompt tokens at a time (chunked
    prefill); the other steps only decode. Where there are more chunks than steps every step is mixed
    and correspondingly fewer sequences decode in each.
    """
    work = decode_workload(counted, ground, shape)
    e, fmt = computing(ground.efficiency), ground.attention_format
    prompt = prefill.Prompt(tokens=chunk, new=shape.new, cached=shape.cached)
    per_rank = batch / (layout.dp * layout.pp * layout.replicas)
    own = shape.output / work.accepted
    chunks = per_rank * shape.new / chunk
    steps = maximum(own, chunks)
    both = prefill.mixed(
        counted, ground.rates, layout, batch * own / steps, work, e, ground.routing,
        prompt=prompt, attention_format=fmt,
    )  # fmt: skip
    alone = side.step_at(counted, replace(ground, efficiency=e), layout, batch, work)
    return (chunks * both.seconds + (steps - chunks) * alone.seconds) / batch


def best(
    counted: Counted, ground: Ground, options: Layout, shape: Shape, *, batch: float | None = None,
    chunk: Any = prefill.CHUNK,
) -> Cost | None:  # fmt: skip
    """The layout with the cheapest requests, with its mixed cost and time to first token; None if none fits."""
    whole = cost(counted, ground, options, shape, batch=batch, chunk=chunk)
    total = np.atleast_1d(np.asarray(whole.total, float))
    index = int(np.argmin(total))
    if not np.isfinite(total[index]):
        return None
    layout = layouts.pick(options, index) if np.ndim(options.tp) else options
    one = cost(counted, ground, layout, shape, batch=batch, chunk=chunk) if np.ndim(options.tp) else whole
    alone = prefill.prefill(
        counted, ground.rates, layout, shape.new, computing(ground.efficiency), ground.routing, cached=shape.cached,
        chunk=chunk, most=1.0, attention_format=ground.attention_format,
    )  # fmt: skip
    return replace(
        one, batch=float(one.batch), max_batch=float(one.max_batch),
        prefill=float(one.prefill), decode=float(one.decode),
        mixed=float(mixed_cost(counted, ground, layout, shape, float(one.batch), chunk)),
        first_token=float(alone.seconds),
    )  # fmt: skip


def decode_point(counted: Counted, ground: Ground, found: Cost | None, shape: Shape) -> side.Point | None:
    """The decode phase of a request as a point."""
    if found is None:
        return None
    step = side.step_at(counted, ground, found.layout, found.batch, decode_workload(counted, ground, shape))
    return side.Point(counted=counted, layout=found.layout, batch=found.batch, max_batch=found.max_batch, step=step)


@dataclass(frozen=True, kw_only=True)
class Requests:
    """R per request with both costs. value: prefill and decode in turn; mixed: together in one step;
    prefill / decode: R of each phase alone. None where a side does not fit (`reason`)."""

    shape: Shape
    moe: Cost | None
    dense: Cost | None
    value: float | None
    mixed: float | None = None
    prefill: float | None = None
    decode: float | None = None
    reason: str = ""


def requests(comparison: Comparison, shape: Shape | None = None, *, chunk: float = prefill.CHUNK) -> Requests:
    """R per request of a comparison; without a shape the scenario's, or its context in and 1k out."""
    chosen = shape or shape_of(comparison.scenario, illustrate=True)
    assert chosen is not None
    return between(comparison.moe, comparison.dense, comparison.ground, comparison.scenario, chosen, chunk)


def between(
    moe: Side, rival: Side, ground: Ground, scenario: Scenario, shape: Shape, chunk: float = prefill.CHUNK
) -> Requests:
    """R per request of two sides on one ground."""
    batch = None if scenario.batch is None else float(scenario.batch)
    m = best(moe.counted, ground, moe.options, shape, batch=batch, chunk=chunk)
    same = moe.counted is rival.counted and moe.options is rival.options
    d = m if same else best(rival.counted, ground, rival.options, shape, batch=batch, chunk=chunk)
    if m is None or d is None:
        which = "; ".join(f"{x.name} does not fit" for x, c in ((moe, m), (rival, d)) if c is None)
        return Requests(shape=shape, moe=m, dense=d, value=None, reason=f"{which} at {shape}")
    return Requests(
        shape=shape, moe=m, dense=d, value=m.total / d.total, mixed=m.mixed / d.mixed, prefill=m.prefill / d.prefill,
        decode=m.decode / d.decode,
    )  # fmt: skip


def token_mix(comparison: Comparison, outputs_per_input: Any, *, input_: float | None = None) -> Mapping[str, Any]:
    """R over the ratio of output to input tokens, at a fixed prompt: {ratio, output, R, prefill_share}.

    The same R holds per request and per token (both sides serve the same mix); nan where a side does not fit.
    """
    c = comparison
    shape = shape_of(c.scenario, illustrate=True)
    assert shape is not None
    if input_ is not None:
        shape = replace(shape, input=input_)
    mix = np.atleast_1d(np.asarray(outputs_per_input, float))
    if np.any(~(mix > 0)):
        raise RoutelineError("a token mix is a positive number of output tokens per input token")
    many = replace(shape, output=np.maximum(mix * float(shape.input), 1.0))
    m, d = (cheapest(x.counted, c.ground, x.options, many, c.scenario.batch) for x in (c.moe, c.dense))
    fits = np.isfinite(np.asarray(m.total, float)) & np.isfinite(np.asarray(d.total, float))
    if not np.any(fits):
        raise RoutelineError(f"no token mix at {int(shape.input):,} tokens in lets both sides fit on {c.cluster.name}")

    def where(value: Any, over: Any) -> np.ndarray:
        return np.where(fits, np.divide(value, over, out=np.full(fits.shape, np.nan), where=fits), np.nan)

    shares = {f"{n}_prefill_share": where(x.prefill, x.total) for n, x in (("moe", m), ("dense", d))}
    return {"ratio": mix, "output": many.output, "R": where(m.total, d.total)} | shares


def cheapest(counted: Counted, ground: Ground, options: Layout, shapes: Shape, batch: Any = None) -> Cost:
    """Cost of many request shapes (arrays of one axis), each in its cheapest layout; inf where none fits."""
    wide = layouts.as_column(options) if np.ndim(options.tp) else options
    whole = cost(counted, ground, wide, shapes, batch=batch)
    if not np.ndim(options.tp):
        return whole
    total = np.asarray(whole.total, float)
    index = np.argmin(total, axis=0)[None]

    def take(value: Any) -> Any:
        return np.take_along_axis(np.broadcast_to(np.asarray(value, float), total.shape), index, axis=0)[0]

    return replace(
        whole,
        batch=take(whole.batch),
        max_batch=take(whole.max_batch),
        prefill=take(whole.prefill),
        decode=take(whole.decode),
    )


def sentence(answer: Requests, names: tuple[str, str] = ("MoE", "dense")) -> str:
    """One sentence on what whole requests do to the verdict; `names`: what to call the two sides."""
    if answer.value is None or answer.moe is None or answer.dense is None:
        return f"per request: not comparable, {answer.reason}"
    moe, dense = names
    lead = "a tie" if abs(answer.value - 1.0) <= TIE else f"{dense if answer.value > 1.0 else moe} ahead"
    return (
        f"per request ({answer.shape}) R = {answer.value:.3g}, {lead}: prefill takes {answer.moe.prefill_share:.0%} "
        f"({moe}) and {answer.dense.prefill_share:.0%} ({dense}) of the time; decode alone gives {answer.decode:.3g}"
    )
