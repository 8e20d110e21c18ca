"""Arithmetic of traced numbers in normal form: sums of products, with what intervals decide decided.

Sums are flat (constant + coefficient * node), products are flat (node ** exponent), common factors cancel, and a
max, min or comparison whose outcome is certain disappears. Plain numbers fold at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .graph import PLAIN, Node


def plain(x: Any) -> bool:
    return isinstance(x, PLAIN)


def bounds(x: Any) -> tuple[float, float]:
    """An interval that contains x."""
    return (x.lo, x.hi) if isinstance(x, Node) else (float(x), float(x))


def _terms(x: Any) -> tuple[float, dict[Node, float]]:
    """x as constant + sum of coefficient * node."""
    if not isinstance(x, Node):
        return float(x), {}
    return (x.args[0], dict(x.args[1])) if x.kind == "sum" else (0.0, {x: 1.0})


def total(const: float, terms: dict[Node, float]) -> Any:
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
    if plain(a) and plain(b):
        return a + b
    ca, ta = _terms(a)
    cb, tb = _terms(b)
    out = dict(ta)
    for n, c in tb.items():
        out[n] = out.get(n, 0.0) + c
    return total(ca + cb, out)


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
        rest = add(rest, mul(c, product(factors)))
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
        made = x if lead == 1.0 else total(const / lead, {n: c / lead for n, c in terms})
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


def product(factors: dict[Node, float]) -> Any:
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
    return total(const * c if const else 0.0, {n: k * c for n, k in terms.items()})


def mul(a: Any, b: Any) -> Any:
    """a * b; constants go inside sums, sums stay factors of products."""
    if plain(a) and plain(b):
        return a * b
    if plain(a):
        return _scaled(float(a), b)
    if plain(b):
        return _scaled(float(b), a)
    ca, fa = split(a)
    cb, fb = split(b)
    return _scaled(ca * cb, product(_merge(fa, fb)))


def power(a: Any, b: Any) -> Any:
    """a ** b; a constant exponent is taken into a product, a constant base stays a function."""
    if plain(a) and plain(b):
        return float(a) ** float(b) if a or b >= 0 else math.inf
    if plain(b):
        b = float(b)
        if b == 1.0:
            return a
        if b == 0.0:
            return 1.0
        if b == -1.0 or (a.lo >= 0.0 and not math.isinf(b)):
            c, factors = split(a)
            return _scaled(c**b, product({n: e * b for n, e in factors.items()}))
        if b == 2.0:
            return mul(a, a)
    lo, hi = 0.0, math.inf
    if plain(a) and 0.0 <= float(a) <= 1.0:
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
        if plain(a) and plain(b):
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
            rest = [mul(c, product({n: e for n, e in f.items() if n not in common})) for c, f in ((ca, fa), (cb, fb))]
            return mul(product(common), function(*rest))
        if plain(a) or (isinstance(b, Node) and isinstance(a, Node) and b.uid < a.uid):
            a, b = b, a
        whole = all(x.whole if isinstance(x, Node) else x == round(x) if math.isfinite(x) else False for x in (a, b))
        return call(name, (a, b), pick(alo, blo), pick(ahi, bhi), whole)

    return function


maximum = _extreme("maximum", max)
minimum = _extreme("minimum", min)


def _rounding(name: str, scalar: Callable[[float], int]) -> Callable[[Any], Any]:
    def function(a: Any) -> Any:
        if plain(a):
            return float(scalar(a))
        if a.whole:
            return a
        const, terms = _terms(a)
        if const and all(n.whole and c == round(c) for n, c in terms.items()):
            return total(float(scalar(const)), terms)
        low, high = (float(scalar(x)) if math.isfinite(x) else x for x in (a.lo, a.hi))
        return call(name, (a,), low, high, True)

    return function


floor = _rounding("floor", math.floor)
ceil = _rounding("ceil", math.ceil)


def sqrt(a: Any) -> Any:
    """Square root."""
    return math.sqrt(a) if plain(a) else power(a, 0.5) if a.lo >= 0 else call("sqrt", (a,), 0.0, math.inf)


def log(a: Any) -> Any:
    """Natural logarithm."""
    if plain(a):
        return math.log(a)
    low = math.log(a.lo) if a.lo > 0 else -math.inf
    return call("log", (a,), low, math.log(a.hi) if 0 < a.hi < math.inf else math.inf)


def exp(a: Any) -> Any:
    """Natural exponential."""
    return math.exp(a) if plain(a) else call("exp", (a,), 0.0, math.inf)


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
        if plain(x):
            if name == "logical_and":
                return y if x else False
            return True if x else y
    return a if a is b else call(name, (a, b), 0.0, 1.0, True)


def negate(a: Any) -> Any:
    """Logical not."""
    return not a if plain(a) else call("logical_not", (a,), 0.0, 1.0, True)


def where(condition: Any, yes: Any, no: Any) -> Any:
    """yes where the condition holds, else no."""
    if plain(condition):
        return yes if condition else no
    if yes is no or (plain(yes) and plain(no) and yes == no):
        return yes
    if yes == 1.0 and plain(yes) and no == 0.0 and plain(no):
        return condition
    (alo, ahi), (blo, bhi) = bounds(yes), bounds(no)
    whole = all(x.whole if isinstance(x, Node) else math.isfinite(x) and x == round(x) for x in (yes, no))
    return call("where", (condition, yes, no), min(alo, blo), max(ahi, bhi), whole)


UFUNCS: dict[Any, Callable[..., Any]] = {
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
