"""A design space: axes, fixed settings and the outputs asked for; from keywords or a TOML file."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from .. import resolve
from ..arch import Model
from ..dense import SHAPES as DENSE_SHAPES
from ..errors import RoutelineError, UnknownName, shorten
from ..hardware import Cluster
from ..scenario import Scenario
from . import axes as axes_
from . import reduce, synthetic
from .axes import AXES, Axis
from .lower import Cell
from .outputs import OUTPUTS
from .program import TILE, tiles

BLOCK = 2**20
"""Points of a block, the unit of checkpointing."""
LIMIT = 1e11
"""Points a space may hold unless the caller allows more."""
DEFAULT_OUTPUTS = ("ratio", "reuse_penalty", "headroom_gain", "moe_batch", "dense_batch", "reason")
_LATE = ("redundant", "draft")


@dataclass(frozen=True)
class Space:
    """What to evaluate. axes in the order of the result; fixed: every other setting, as typed.

    reducers: name -> settings ({kind = "best", ...}); with reducers points are reduced on the fly.
    """

    axes: tuple[Axis, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = DEFAULT_OUTPUTS
    reducers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    block: int = BLOCK
    limit: float = LIMIT

    def __post_init__(self) -> None:
        names = [a.name for a in self.axes]
        for name in names:
            if names.count(name) > 1:
                raise RoutelineError(f"axis {name} is given twice")
        for name in self.fixed:
            if name in names:
                raise RoutelineError(f"{name} is both an axis and fixed; give it once")
        for name in self.outputs:
            if name not in OUTPUTS:
                raise UnknownName("output", name, OUTPUTS, f"known: {', '.join(OUTPUTS)}")
        if not self.outputs:
            raise RoutelineError(f"no outputs asked for; give at least one of {', '.join(list(OUTPUTS)[:6])}, ...")
        if self.points > self.limit:
            raise RoutelineError(
                f"the space holds {self.points:.3g} points, over the limit of {self.limit:.3g}; "
                "shorten an axis or raise the limit"
            )
        if not 2**10 <= self.block <= 2**26:
            raise RoutelineError(f"a block holds between 1,024 and 67,108,864 points, not {self.block}")
        reduce.check(self)

    @property
    def points(self) -> float:
        return math.prod(float(len(a)) for a in self.axes)

    def axis(self, name: str) -> Axis:
        """An axis by name.

        Raises:
            UnknownName: not an axis of this space.
        """
        for a in self.axes:
            if a.name == name:
                return a
        raise UnknownName("axis of this space", name, [a.name for a in self.axes])

    def has(self, name: str) -> bool:
        return any(a.name == name for a in self.axes)

    # --- what is looped over, what is broadcast ---

    @cached_property
    def looped(self) -> tuple[Axis, ...]:
        """Axes looped over: names; draft (it decides whether draft layers are resident); and what changes the
        layouts to choose from: q where a standard dense shape follows it, synthetic shapes unless pooled."""
        pooled = not self.has("layout") and str(self.fixed.get("layout", "auto")).strip().lower() == "pooled"
        shapes = {self.fixed.get("dense", "same-attention")}
        if self.has("dense"):
            shapes = set(self.axis("dense").values)

        def loops(a: Axis) -> bool:
            if a.kind.role == "name" or a.name in _LATE:
                return True
            if a.name == "q":
                return shapes != {"same-attention"}
            return a.kind.role == "shape" and not pooled

        return tuple(a for a in self.axes if loops(a))

    @cached_property
    def numeric(self) -> tuple[Axis, ...]:
        """Axes broadcast over, in the order blocks run through them: last the one quantiles need, or a long one."""
        names = {a.name for a in self.looped}
        kept = [a for a in self.axes if a.name not in names]
        over = reduce.innermost(self)
        last = next((a for a in kept if a.name == over), None)
        if last is None and kept and len(kept[-1]) < 64:
            longest = max(kept, key=len)
            last = longest if len(longest) > 2 * len(kept[-1]) else None
        return tuple([a for a in kept if a is not last] + ([last] if last is not None else []))

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the numeric axes, in `numeric` order."""
        return tuple(len(a) for a in self.numeric)

    @property
    def cells(self) -> int:
        return math.prod(len(a) for a in self.looped)

    @cached_property
    def ranges(self) -> list[list[tuple[slice, ...]]]:
        """Tiles of each block of one cell (the same in every cell)."""
        blocks: list[list[tuple[slice, ...]]] = []
        size = self.block + 1
        for box in tiles(self.shape, min(TILE, self.block)):
            n = math.prod(s.stop - s.start for s in box)
            if size + n > self.block:
                blocks.append([])
                size = 0
            blocks[-1].append(box)
            size += n
        return blocks

    @property
    def blocks(self) -> int:
        return self.cells * len(self.ranges)

    def cell_at(self, block: int) -> int:
        return block // len(self.ranges)

    def start_of(self, block: int) -> int:
        """Flat position of a block's first point in its cell."""
        return self._starts[block % len(self.ranges)]

    @cached_property
    def _starts(self) -> list[int]:
        sizes = [sum(math.prod(s.stop - s.start for s in b) for b in block) for block in self.ranges]
        return [0, *itertools.accumulate(sizes)]

    def names_of(self, cell: int) -> dict[str, Any]:
        """Looped axes and their values in a cell."""
        index = np.unravel_index(cell, tuple(len(a) for a in self.looped)) if self.looped else ()
        return {a.name: a.values[int(i)] for a, i in zip(self.looped, index, strict=True)}

    def grids(self) -> dict[str, np.ndarray]:
        """Numeric axes as open-grid arrays."""
        n = len(self.numeric)
        return {
            a.name: np.asarray(a.values, float).reshape((1,) * i + (-1,) + (1,) * (n - 1 - i))
            for i, a in enumerate(self.numeric)
        }

    # --- identity ---

    def describe(self) -> dict[str, Any]:
        """Everything that determines the numbers, as JSON."""
        from .. import __version__

        return {
            "routeline": __version__,
            "numpy": np.__version__,
            "axes": [[a.name, [_plain(v) for v in a.values]] for a in self.axes],
            "fixed": {k: _plain(v) for k, v in sorted(self.fixed.items())},
            "outputs": list(self.outputs),
            "reduce": {k: dict(v) for k, v in self.reducers.items()},
            "block": self.block,
        }

    @cached_property
    def digest(self) -> str:
        """Name of this run: two spaces with the same digest give the same blocks."""
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return f"{getattr(value, 'name', type(value).__name__)} {hashlib.sha256(repr(value).encode()).hexdigest()[:16]}"


# --- from what people write --------------------------------------------------------------------------

_SECTIONS = ("axes", "fixed", "outputs", "reduce", "limit", "block")
_FIXED = tuple(f.name for f in fields(Scenario)) + tuple(n for n in AXES if n not in Scenario.__dataclass_fields__)


def make(
    axes: Mapping[str, Any],
    *,
    outputs: Sequence[str] | None = None,
    reduce: Mapping[str, Mapping[str, Any]] | None = None,
    limit: float = LIMIT,
    block: int = BLOCK,
    **fixed: Any,
) -> Space:
    """A Space from axes (name -> values) and fixed settings.

    Raises:
        RoutelineError: unknown names, empty axes, bad values, too many points.
    """
    made = tuple(axes_.make(name, given) for name, given in axes.items())
    settled: dict[str, Any] = {}
    for name, value in fixed.items():
        if value is None:
            continue
        plain = axes_.OTHER_NAMES.get(name, name)
        if plain not in _FIXED:
            raise UnknownName("setting", name, _FIXED, f"known: {', '.join(_FIXED)}")
        if plain in AXES and not (plain == "memory" and value in ("usable", "marketed")):
            settled[plain] = axes_.make(plain, [value]).values[0]
        else:
            settled["basis" if plain == "memory" else plain] = value
    wanted = tuple(dict.fromkeys(outputs)) if outputs is not None else DEFAULT_OUTPUTS
    return Space(made, settled, wanted, dict(reduce or {}), block, limit)


EXAMPLE = os.path.join(os.path.dirname(__file__), "example.toml")


def bundled() -> str:
    """The text of the example space."""
    with open(EXAMPLE, encoding="utf-8") as f:
        return f.read()


def read(path: str) -> Space:
    """A Space from a TOML file with [axes], [fixed], outputs, [reduce.NAME], limit, block; 'example' is bundled.

    Raises:
        RoutelineError: unreadable, not TOML, or what `make` refuses.
    """
    try:
        with open(EXAMPLE if path == "example" and not os.path.exists(path) else path, "rb") as f:
            raw = tomllib.load(f)
    except OSError as error:
        raise RoutelineError(f"cannot read {shorten(path)}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RoutelineError(f"{shorten(path)} is not valid TOML: {shorten(error)}") from None
    for key in raw:
        if key not in _SECTIONS:
            raise UnknownName(f"section of {shorten(path)}", key, _SECTIONS)
    for key in ("axes", "fixed", "reduce"):
        if not isinstance(raw.get(key, {}), dict):
            raise RoutelineError(f"{shorten(path)}: [{key}] must be a table")
    if not raw.get("axes"):
        raise RoutelineError(f"{shorten(path)} has no [axes]; give at least one, e.g. context = ['8k', '128k']")
    outputs = raw.get("outputs")
    if outputs is not None and (not isinstance(outputs, list) or not all(isinstance(o, str) for o in outputs)):
        raise RoutelineError(f"{shorten(path)}: outputs must be a list of names")
    for key in ("limit", "block"):
        if key in raw and (isinstance(raw[key], bool) or not isinstance(raw[key], (int, float))):
            raise RoutelineError(f"{shorten(path)}: {key} must be a number")
    clash = set(raw.get("fixed", {})) & {"axes", "outputs", "reduce", "limit", "block"}
    if clash:
        raise UnknownName("setting", clash.pop(), _FIXED)
    return make(
        raw["axes"], outputs=outputs, reduce=raw.get("reduce"), limit=float(raw.get("limit", LIMIT)),
        block=int(raw.get("block", BLOCK)), **raw.get("fixed", {}),
    )  # fmt: skip


# --- cells ---------------------------------------------------------------------------------------------


def cell(space: Space, index: int) -> Cell:
    """Resolve the names of a cell to objects.

    Raises:
        RoutelineError: an unknown name, or settings that contradict each other.
    """
    v = {**space.fixed, **space.names_of(index)}
    shape = {k: v.pop(k) for k in list(v) if k in synthetic.DEFAULTS}
    swept = {a.name for a in space.numeric if a.name in synthetic.DEFAULTS}
    model: Model | None = None
    if "model" in v and v["model"] != "synthetic":
        if shape or swept:
            raise RoutelineError(
                f"{next(iter(swept or shape))} describes a synthetic architecture; leave it out, "
                "or use model = 'synthetic'"
            )
        model = resolve.model(v.pop("model"))
    else:
        if not (shape or swept) and v.get("model") != "synthetic":
            raise RoutelineError(
                "no model: give an axis model, or a value under [fixed], or the axes of a synthetic one"
            )
        v.pop("model", None)
        shape = {k: x if isinstance(x, str) else float(x) for k, x in shape.items()}
        if not swept:
            synthetic.require(shape)
            model, shape = synthetic.build(shape), {}
    place = _cluster(v)
    numbers = {k: float(v.pop(k)) for k in ("memory", "bandwidth", "peak", "link", "nic") if k in v}
    if "basis" in v:
        v["memory"] = v.pop("basis")
    scenario = resolve.scenario(
        {k: float(x) if isinstance(x, (int, float)) and not isinstance(x, bool) else x for k, x in v.items()}
    )
    opponent = None if scenario.dense in DENSE_SHAPES else resolve.model(scenario.dense)
    if opponent is not None and space.has("q"):
        raise RoutelineError(f"q is implied by the dense model {opponent.name}: leave the axis q out")
    if opponent is None and scenario.q is None and not space.has("q"):
        if model is None or model.name == "synthetic":
            raise RoutelineError(
                "a synthetic architecture has no evidence on q: give an axis q, or a value under [fixed]"
            )
        scenario = replace(scenario, q=resolve.number(resolve.q_of(model, scenario))[0])
    routed = resolve.routing(scenario.routing, model) if model is not None else None
    return Cell(model=model, cluster=place, scenario=scenario, opponent=opponent, shape=None if model else shape,
                routed=routed, numbers=numbers)  # fmt: skip


def _cluster(v: dict[str, Any]) -> Cluster:
    if "devices" in v:
        if "device" in v or "count" in v:
            raise RoutelineError("give devices ('8xH200'), or device and count, not both")
        return resolve.cluster(v.pop("devices"))
    if "device" not in v:
        raise RoutelineError("no devices: give an axis devices = ['8xH200', ...], or device and count")
    device, count = v.pop("device"), int(v.pop("count", 1))
    if isinstance(device, str):
        return resolve.cluster(f"{count}x{device}")
    from ..devices import make_cluster

    return make_cluster(device, count)


def point(space: Space, index: Mapping[str, int]) -> tuple[Cell, dict[str, float]]:
    """The cell and the numbers of one point, for checks against `compare`."""
    sizes = tuple(len(a) for a in space.looped)
    where = int(np.ravel_multi_index([index[a.name] for a in space.looped], sizes)) if sizes else 0
    return cell(space, where), {a.name: float(a.values[index[a.name]]) for a in space.numeric}


def every_cell(space: Space) -> Iterator[tuple[int, dict[str, Any]]]:
    """Indices of cells with their names."""
    for i in range(space.cells):
        yield i, space.names_of(i)


__all__ = ["Space", "cell", "make", "point", "read"]
