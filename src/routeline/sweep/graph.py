"""Numbers that remember how they were made: run a physics function once, keep its formula.

A `Node` behaves like a float or an array in arithmetic and in NumPy's elementwise functions. Calling
the functions that `compare` calls (memory.admissible, estimate.step, ...) with nodes yields the exact
formula as a graph, in a normal form (sums of products) that `program` can evaluate fast: what depends
on no axis is a float at once, common factors cancel, a max whose winner is certain over the whole space
disappears. No formula is written here.

Every node knows the axes it varies over (a bit mask) and an interval [low, high] that contains it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

_PLAIN = (float, int, bool, np.floating, np.integer, np.bool_)
EAGER_LIMIT = 2**22
"""Most elements of a node that is worked out while compiling."""
ASKED_LIMIT = 2**15
"""Most elements handed to physics that works with arrays only (skewed routing: times the experts)."""
VARIABLES = 20
"""Variables a graph may hold; each is one more dimension of a NumPy array (at most 32 with NumPy 1)."""


class NotTraceable(TypeError):
    """The physics looked inside a number that has no single value here; evaluate with arrays instead."""


class Graph:
    """Interned nodes over `dims` axes, guards met while tracing, and variables (see `variable`)."""

    def __init__(self, dims: int, variables: int = VARIABLES) -> None:
        self.axes = dims
        self.dims = dims + variables
        self.used = 0
        self._nodes: dict[tuple, Node] = {}
        self.guards: list[Node] = []
        self.normal: dict[tuple, Node] = {}

    def leaf(self, data: Any) -> Any:
        """A node (or float) holding an open-grid array: one dimension per axis, length 1 where constant."""
        array = np.asarray(data, float)
        if array.size == 1:
            return float(array.reshape(-1)[0])
        array = array.reshape(array.shape + (1,) * (self.dims - array.ndim))
        mask = sum(1 << i for i, n in enumerate(array.shape) if n > 1)
        found = mask >> self.axes
        if found & (found - 1):
            raise NotTraceable("a table over two variables")
        node = Node(
            self, "leaf", (array,), mask, float(array.min()), float(array.max()), bool(np.all(array == np.rint(array)))
        )
        node.uid = len(self._nodes)
        self._nodes[("leaf", node.uid)] = node
        return node

    def variable(self, definition: Any, cap: int | None) -> Any:
        """A whole number >= 0 whose defining node is set aside, so that what depends on it alone can be tabulated.

        cap: the table holds 0..cap (None: no table, evaluate directly). Returns the definition itself
        when it is a float or no table is wanted.
        """
        if not isinstance(definition, Node) or cap is None or self.axes + self.used >= self.dims:
            return definition
        data = np.arange(cap + 1.0).reshape(
            (1,) * (self.axes + self.used) + (-1,) + (1,) * (self.dims - self.axes - self.used - 1)
        )
        node = Node(
            self, "var", (definition, data), 1 << (self.axes + self.used), max(definition.lo, 0.0), definition.hi, True
        )
        self.used += 1
        node.uid = len(self._nodes)
        self._nodes[("var", node.uid)] = node
        return node

    def make(self, kind: str, args: tuple, key: tuple, mask: int, lo: float, hi: float, whole: bool = False) -> Node:
        """The interned node of this kind and key."""
        found = self._nodes.get(key)
        if found is None:
            if math.isnan(lo) or math.isnan(hi):
                lo, hi = -math.inf, math.inf
            found = Node(self, kind, args, mask, lo, hi, whole)
            found.uid = len(self._nodes)
            self._nodes[key] = found
        return found


class Node:
    """One value of the formula. kind: leaf, var, sum, prod, power or the name of an elementwise function."""

    __slots__ = ("_value", "args", "graph", "hi", "kind", "lo", "mask", "uid", "whole")
    ndim = 1
    size = 2

    def __init__(self, graph: Graph, kind: str, args: tuple, mask: int, lo: float, hi: float, whole: bool) -> None:
        self.graph, self.kind, self.args, self.mask = graph, kind, args, mask
        self.lo, self.hi, self.whole, self.uid, self._value = lo, hi, whole, -1, None

    def __add__(self, o: Any) -> Any:
        return add(self, self._lift(o))

    def __radd__(self, o: Any) -> Any:
        return add(self._lift(o), self)

    def __sub__(self, o: Any) -> Any:
        return add(self, mul(-1.0, self._lift(o)))

    def __rsub__(self, o: Any) -> Any:
        return add(self._lift(o), mul(-1.0, self))

    def __mul__(self, o: Any) -> Any:
        return mul(self, self._lift(o))

    def __rmul__(self, o: Any) -> Any:
        return mul(self._lift(o), self)

    def __truediv__(self, o: Any) -> Any:
        return mul(self, power(self._lift(o), -1.0))

    def __rtruediv__(self, o: Any) -> Any:
        return mul(self._lift(o), power(self, -1.0))

    def __pow__(self, o: Any) -> Any:
        return power(self, self._lift(o))

    def __rpow__(self, o: Any) -> Any:
        return power(self._lift(o), self)

    def __neg__(self) -> Any:
        return mul(-1.0, self)

    def __lt__(self, o: Any) -> Any:
        return compare("less", self, self._lift(o))

    def __le__(self, o: Any) -> Any:
        return compare("less_equal", self, self._lift(o))

    def __gt__(self, o: Any) -> Any:
        return compare("less", o, self)

    def __ge__(self, o: Any) -> Any:
        return compare("less_equal", o, self)

    def __and__(self, o: Any) -> Any:
        return logic("logical_and", self, self._lift(o))

    __rand__ = __and__

    def __or__(self, o: Any) -> Any:
        return logic("logical_or", self, self._lift(o))

    __ror__ = __or__

    def __invert__(self) -> Any:
        return negate(self)

    def __mod__(self, o: Any) -> Any:
        return self - floor(self / o) * o

    def __bool__(self) -> bool:
        raise NotTraceable("a formula branched on a value that differs between points")

    def __float__(self) -> float:
        raise NotTraceable("a formula needs one number where the sweep has many")

    __int__ = __float__

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        found = value(self)
        if found.size > ASKED_LIMIT:
            raise NotTraceable("too many values to work out while tracing")
        return found

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        handler = _UFUNCS.get(ufunc)
        if method != "__call__" or kwargs or handler is None:
            return NotImplemented
        return handler(*(self._lift(x) for x in inputs))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func is np.where and len(args) == 3:
            return where(*(self._lift(x) for x in args))
        if func is np.ndim:
            return 1
        if func is np.size:
            return 2
        if func is np.any and self.kind in _BOOLEAN:
            self.graph.guards.append(self)
            return False
        if func in (np.max, np.min, np.any, np.all, np.asarray, np.median, np.mean):
            return func(*(value(a) if isinstance(a, Node) else a for a in args), **kwargs)
        raise NotTraceable(f"{func.__name__} is not an elementwise function")

    def _lift(self, x: Any) -> Any:
        if isinstance(x, np.ndarray):
            return bool(x) if x.dtype == bool and x.ndim == 0 else self.graph.leaf(x)
        return x


def _plain(x: Any) -> bool:
    return isinstance(x, _PLAIN)


def bounds(x: Any) -> tuple[float, float]:
    """An interval that contains x."""
    return (x.lo, x.hi) if isinstance(x, Node) else (float(x), float(x))


def _terms(x: Any) -> tuple[float, dict[Node, float]]:
    """x as constant + sum of coefficient * node."""
    if not isinstance(x, Node):
        return float(x), {}
    return (x.args[0], dict(x.args[1])) if x.kind == "sum" else (0.0, {x: 1.0})


def _sum(const: float, terms: dict[Node, float]) -> Any:
    kept = sorted(((n, c) for n, c in terms.items() if c != 0.0), key=lambda t: t[0].uid)
    if not kept:
        return const
    if const == 0.0 and len(kept) == 1 and kept[0][1] == 1.0:
        return kept[0][0]
    graph, lo, hi, mask = kept[0][0].graph, const, const, 0
    whole = const == round(const) if math.isfinite(const) else False
    for n, c in kept:
        ends = (c * n.lo, c * n.hi)
        lo, hi, mask = lo + min(ends), hi + max(ends), mask | n.mask
        whole = whole and n.whole and c == round(c)
    key = ("sum", const, tuple((n.uid, c) for n, c in kept))
    return graph.make("sum", (const, tuple(kept)), key, mask, lo, hi, whole)


def add(a: Any, b: Any) -> Any:
    """a + b as one flat sum."""
    if _plain(a) and _plain(b):
        return a + b
    ca, ta = _terms(a)
    cb, tb = _terms(b)
    out = dict(ta)
    for n, c in tb.items():
        out[n] = out.get(n, 0.0) + c
    return _sum(ca + cb, out)


def split(x: Any, *, normal: bool = False) -> tuple[float, dict[Node, float]]:
    """x as coefficient * product of node ** exponent; a factor common to all terms of a sum is taken out.

    normal: the coefficient of a sum's first term is taken out too, so that proportional sums are one factor.
    """
    if not isinstance(x, Node):
        return float(x), {}
    if x.kind == "prod":
        return _normalised(dict(x.args)) if normal else (1.0, dict(x.args))
    if x.kind != "sum":
        return 1.0, {x: 1.0}
    const, terms = x.args
    if len(terms) == 1 and const == 0.0:
        node, c = terms[0]
        scale, factors = split(node, normal=normal)
        return c * scale, factors
    if const != 0.0:
        return _normal(x) if normal else (1.0, {x: 1.0})
    common: dict[Node, float] | None = None
    for node, _ in terms:
        factors = split(node)[1]
        common = dict(factors) if common is None else {n: e for n, e in common.items() if factors.get(n) == e}
    if not common:
        return _normal(x) if normal else (1.0, {x: 1.0})
    rest: Any = 0.0
    for node, c in terms:
        factors = {n: e for n, e in split(node)[1].items() if n not in common}
        rest = add(rest, mul(c, _prod(factors)))
    coefficient, inner = split(rest, normal=normal)
    return coefficient, _merge(common, inner)


def _normalised(factors: dict[Node, float]) -> tuple[float, dict[Node, float]]:
    scale, out = 1.0, {}
    for n, e in factors.items():
        c, inner = _normal(n) if n.kind == "sum" else (1.0, {n: 1.0})
        scale *= c**e if c > 0.0 or e == round(e) else math.nan
        out = _merge(out, {m: e for m in inner})
    return (1.0, factors) if math.isnan(scale) else (scale, out)


def _normal(x: Node) -> tuple[float, dict[Node, float]]:
    """A sum as coefficient * (sum whose first coefficient is 1), so that proportional sums are one node.

    Sums that agree to 14 digits are the same formula rounded differently: the first met stands for all.
    """
    const, terms = x.args
    lead = terms[0][1]
    shape = (f"{const / lead:.14e}", tuple((n.uid, f"{c / lead:.14e}") for n, c in terms))
    kept = x.graph.normal.get(shape)
    if kept is None:
        made = x if lead == 1.0 else _sum(const / lead, {n: c / lead for n, c in terms})
        x.graph.normal[shape] = kept = made
    return lead, {kept: 1.0}


def _merge(a: dict[Node, float], b: dict[Node, float]) -> dict[Node, float]:
    out = dict(a)
    for n, e in b.items():
        out[n] = out.get(n, 0.0) + e
    return {n: e for n, e in out.items() if e != 0.0}


def _power_bounds(n: Node, e: float) -> tuple[float, float]:
    if e == 1.0:
        return n.lo, n.hi
    if n.lo < 0.0 or (n.lo == 0.0 and e < 0):
        return (0.0, math.inf) if n.lo == 0.0 else (-math.inf, math.inf)
    try:
        ends = (n.lo**e, n.hi**e)
    except OverflowError:
        return 0.0, math.inf
    return min(ends), max(ends)


def _prod(factors: dict[Node, float]) -> Any:
    if not factors:
        return 1.0
    kept = sorted(factors.items(), key=lambda t: t[0].uid)
    if len(kept) == 1 and kept[0][1] == 1.0:
        return kept[0][0]
    lo = hi = 1.0
    mask, whole = 0, True
    for n, e in kept:
        ends = _power_bounds(n, e)
        corners = [x * y if x and y else 0.0 for x in (lo, hi) for y in ends]
        lo, hi, mask = min(corners), max(corners), mask | n.mask
        whole = whole and n.whole and e > 0 and e == round(e)
    key = ("prod", tuple((n.uid, e) for n, e in kept))
    return kept[0][0].graph.make("prod", tuple(kept), key, mask, lo, hi, whole)


def _scaled(c: float, x: Any) -> Any:
    if not isinstance(x, Node):
        return c * x
    if c == 0.0:
        return 0.0
    if c == 1.0:
        return x
    if math.isinf(c) and x.lo > 0.0:
        return c
    const, terms = _terms(x)
    return _sum(const * c if const else 0.0, {n: k * c for n, k in terms.items()})


def mul(a: Any, b: Any) -> Any:
    """a * b; constants go inside sums, sums stay factors of products."""
    if _plain(a) and _plain(b):
        return a * b
    if _plain(a):
        return _scaled(float(a), b)
    if _plain(b):
        return _scaled(float(b), a)
    ca, fa = split(a)
    cb, fb = split(b)
    return _scaled(ca * cb, _prod(_merge(fa, fb)))


def power(a: Any, b: Any) -> Any:
    """a ** b; a constant exponent is taken into a product, a constant base stays a function."""
    if _plain(a) and _plain(b):
        return float(a) ** float(b) if a or b >= 0 else math.inf
    if _plain(b):
        b = float(b)
        if b == 1.0:
            return a
        if b == 0.0:
            return 1.0
        if b == -1.0 or (a.lo >= 0.0 and not math.isinf(b)):
            c, factors = split(a)
            return _scaled(c**b, _prod({n: e * b for n, e in factors.items()}))
        if b == 2.0:
            return mul(a, a)
    lo, hi = 0.0, math.inf
    if _plain(a) and 0.0 <= float(a) <= 1.0:
        ends = bounds(b)
        if a == 1.0:
            return 1.0
        if ends[0] >= 0:
            lo, hi = float(a) ** ends[1], float(a) ** ends[0]
    elif isinstance(a, Node) and a.lo >= 0.0 and a.hi <= 1.0 and bounds(b)[0] >= 0:
        lo, hi = a.lo ** bounds(b)[1], a.hi ** bounds(b)[0]
    return call("power", (a, b), lo, hi)


def call(name: str, args: tuple, lo: float, hi: float, whole: bool = False) -> Any:
    """The node of an elementwise function."""
    graph = next(a.graph for a in args if isinstance(a, Node))
    mask = 0
    for a in args:
        mask |= a.mask if isinstance(a, Node) else 0
    key = (name, *(("n", a.uid) if isinstance(a, Node) else ("c", float(a)) for a in args))
    return graph.make(name, args, key, mask, lo, hi, whole)


def _extreme(name: str, pick: Callable[[float, float], float]) -> Callable[[Any, Any], Any]:
    larger = name == "maximum"

    def function(a: Any, b: Any) -> Any:
        if _plain(a) and _plain(b):
            return pick(a, b)
        if a is b:
            return a
        (alo, ahi), (blo, bhi) = bounds(a), bounds(b)
        if alo >= bhi:
            return a if larger else b
        if blo >= ahi:
            return b if larger else a
        ca, fa = split(a, normal=True)
        cb, fb = split(b, normal=True)
        common = {n: e for n, e in fa.items() if fb.get(n) == e and n.lo >= 0.0}
        if common and isinstance(a, Node) and isinstance(b, Node):
            rest = [mul(c, _prod({n: e for n, e in f.items() if n not in common})) for c, f in ((ca, fa), (cb, fb))]
            return mul(_prod(common), function(*rest))
        if _plain(a) or (isinstance(b, Node) and isinstance(a, Node) and b.uid < a.uid):
            a, b = b, a
        whole = all(x.whole if isinstance(x, Node) else x == round(x) if math.isfinite(x) else False for x in (a, b))
        return call(name, (a, b), pick(alo, blo), pick(ahi, bhi), whole)

    return function


maximum = _extreme("maximum", max)
minimum = _extreme("minimum", min)


def _rounding(name: str, scalar: Callable[[float], int]) -> Callable[[Any], Any]:
    def function(a: Any) -> Any:
        if _plain(a):
            return float(scalar(a))
        if a.whole:
            return a
        const, terms = _terms(a)
        if const and all(n.whole and c == round(c) for n, c in terms.items()):
            return _sum(float(scalar(const)), terms)
        ends = tuple(float(scalar(x)) if math.isfinite(x) else x for x in (a.lo, a.hi))
        return call(name, (a,), *ends, True)

    return function


floor = _rounding("floor", math.floor)
ceil = _rounding("ceil", math.ceil)


def sqrt(a: Any) -> Any:
    """Square root."""
    return math.sqrt(a) if _plain(a) else power(a, 0.5) if a.lo >= 0 else call("sqrt", (a,), 0.0, math.inf)


def log(a: Any) -> Any:
    """Natural logarithm."""
    if _plain(a):
        return math.log(a)
    low = math.log(a.lo) if a.lo > 0 else -math.inf
    return call("log", (a,), low, math.log(a.hi) if 0 < a.hi < math.inf else math.inf)


def exp(a: Any) -> Any:
    """Natural exponential."""
    return math.exp(a) if _plain(a) else call("exp", (a,), 0.0, math.inf)


_BOOLEAN = ("less", "less_equal", "equal", "logical_and", "logical_or", "logical_not")


def compare(name: str, a: Any, b: Any) -> Any:
    """a < b or a <= b; a plain bool where the intervals decide."""
    (alo, ahi), (blo, bhi) = bounds(a), bounds(b)
    strict = name == "less"
    if ahi < blo or (not strict and ahi <= blo):
        return True
    if alo > bhi or (strict and alo >= bhi):
        return False
    return call(name, (a, b), 0.0, 1.0, True)


def logic(name: str, a: Any, b: Any) -> Any:
    """Logical and / or; plain bools fold."""
    for x, y in ((a, b), (b, a)):
        if _plain(x):
            if name == "logical_and":
                return y if x else False
            return True if x else y
    return a if a is b else call(name, (a, b), 0.0, 1.0, True)


def negate(a: Any) -> Any:
    """Logical not."""
    return not a if _plain(a) else call("logical_not", (a,), 0.0, 1.0, True)


def where(condition: Any, yes: Any, no: Any) -> Any:
    """yes where the condition holds, else no."""
    if _plain(condition):
        return yes if condition else no
    if yes is no or (_plain(yes) and _plain(no) and yes == no):
        return yes
    if yes == 1.0 and _plain(yes) and no == 0.0 and _plain(no):
        return condition
    (alo, ahi), (blo, bhi) = bounds(yes), bounds(no)
    whole = all(x.whole if isinstance(x, Node) else math.isfinite(x) and x == round(x) for x in (yes, no))
    return call("where", (condition, yes, no), min(alo, blo), max(ahi, bhi), whole)


_UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: add, np.multiply: mul, np.maximum: maximum, np.minimum: minimum, np.floor: floor, np.ceil: ceil,
    np.sqrt: sqrt, np.log: log, np.exp: exp, np.power: power, np.float_power: power,
    np.subtract: lambda a, b: add(a, mul(-1.0, b)), np.negative: lambda a: mul(-1.0, a),
    np.divide: lambda a, b: mul(a, power(b, -1.0)),
    np.less: lambda a, b: compare("less", a, b), np.less_equal: lambda a, b: compare("less_equal", a, b),
    np.greater: lambda a, b: compare("less", b, a), np.greater_equal: lambda a, b: compare("less_equal", b, a),
    np.logical_and: lambda a, b: logic("logical_and", a, b), np.logical_or: lambda a, b: logic("logical_or", a, b),
    np.bitwise_and: lambda a, b: logic("logical_and", a, b), np.bitwise_or: lambda a, b: logic("logical_or", a, b),
    np.logical_not: negate, np.invert: negate,
}  # fmt: skip


# --- values, without blocks ------------------------------------------------------------------------


def value(node: Any) -> np.ndarray:
    """The node's values as one open-grid array (variables over their table).

    Raises:
        NotTraceable: more than EAGER_LIMIT elements.
    """
    if not isinstance(node, Node):
        return np.asarray(node)
    if node._value is None:
        parts = operands(node)
        shape = np.broadcast_shapes(*(np.shape(value(p)) for p in parts)) if parts else node.args[-1].shape
        if math.prod(shape) > EAGER_LIMIT:
            raise NotTraceable("too many values to work out while tracing")
        node._value = apply(node, value)
    return node._value


def operands(node: Node) -> tuple[Any, ...]:
    """Nodes that a node is computed from."""
    if node.kind in ("leaf", "var"):
        return ()
    if node.kind == "sum":
        return tuple(n for n, _ in node.args[1])
    if node.kind == "prod":
        return tuple(n for n, _ in node.args)
    return tuple(a for a in node.args if isinstance(a, Node))


def apply(node: Node, read: Callable[[Any], Any]) -> np.ndarray:
    """One node from its operands' values, allocating."""
    with np.errstate(all="ignore"):
        if node.kind in ("leaf", "var"):
            return node.args[-1]
        if node.kind == "sum":
            const, terms = node.args
            out: Any = const
            for n, c in terms:
                out = out + (read(n) if c == 1.0 else c * read(n))
            return out
        if node.kind == "prod":
            out = 1.0
            for n, e in node.args:
                out = out * raised(read(n), e)
            return out
        if node.kind == "where":
            return np.where(*(read(a) for a in node.args))
        return getattr(np, node.kind)(*(read(a) for a in node.args))


def raised(x: Any, e: float) -> Any:
    """x ** e with cheap special cases."""
    if e == 1.0:
        return x
    if e == -1.0:
        return 1.0 / x
    if e == 2.0:
        return x * x
    return np.sqrt(x) if e == 0.5 else np.power(x, e)
