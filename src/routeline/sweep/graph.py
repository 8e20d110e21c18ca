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

BOOLEAN = ("less", "less_equal", "equal", "logical_and", "logical_or", "logical_not")
PLAIN = (float, int, bool, np.floating, np.integer, np.bool_)
EAGER_LIMIT = 2**22
"""Most elements of a node that is worked out while compiling."""
ASKED_LIMIT = 2**15
"""Most elements handed to physics that works with arrays only (skewed routing: times the experts)."""
VARIABLES = 20
"""Variables a graph may hold; each is one more dimension of a NumPy array (at most 32 with NumPy 1)."""


class NotTraceable(TypeError):  # noqa: N818  a way out, not a fault
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
        self.lo, self.hi, self.whole, self.uid = lo, hi, whole, -1
        self._value: Any = None

    def __add__(self, o: Any) -> Any:
        return algebra.add(self, self._lift(o))

    def __radd__(self, o: Any) -> Any:
        return algebra.add(self._lift(o), self)

    def __sub__(self, o: Any) -> Any:
        return algebra.add(self, algebra.mul(-1.0, self._lift(o)))

    def __rsub__(self, o: Any) -> Any:
        return algebra.add(self._lift(o), algebra.mul(-1.0, self))

    def __mul__(self, o: Any) -> Any:
        return algebra.mul(self, self._lift(o))

    def __rmul__(self, o: Any) -> Any:
        return algebra.mul(self._lift(o), self)

    def __truediv__(self, o: Any) -> Any:
        return algebra.mul(self, algebra.power(self._lift(o), -1.0))

    def __rtruediv__(self, o: Any) -> Any:
        return algebra.mul(self._lift(o), algebra.power(self, -1.0))

    def __pow__(self, o: Any) -> Any:
        return algebra.power(self, self._lift(o))

    def __rpow__(self, o: Any) -> Any:
        return algebra.power(self._lift(o), self)

    def __neg__(self) -> Any:
        return algebra.mul(-1.0, self)

    def __lt__(self, o: Any) -> Any:
        return algebra.compare("less", self, self._lift(o))

    def __le__(self, o: Any) -> Any:
        return algebra.compare("less_equal", self, self._lift(o))

    def __gt__(self, o: Any) -> Any:
        return algebra.compare("less", o, self)

    def __ge__(self, o: Any) -> Any:
        return algebra.compare("less_equal", o, self)

    def __and__(self, o: Any) -> Any:
        return algebra.logic("logical_and", self, self._lift(o))

    __rand__ = __and__

    def __or__(self, o: Any) -> Any:
        return algebra.logic("logical_or", self, self._lift(o))

    __ror__ = __or__

    def __invert__(self) -> Any:
        return algebra.negate(self)

    def __mod__(self, o: Any) -> Any:
        return self - algebra.floor(self / o) * o

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
        handler = algebra.UFUNCS.get(ufunc)
        if method != "__call__" or kwargs or handler is None:
            return NotImplemented
        return handler(*(self._lift(x) for x in inputs))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func is np.where and len(args) == 3:
            return algebra.where(*(self._lift(x) for x in args))
        if func is np.ndim:
            return 1
        if func is np.size:
            return 2
        if func is np.any and self.kind in BOOLEAN:
            self.graph.guards.append(self)
            return False
        if func in (np.max, np.min, np.any, np.all, np.asarray, np.median, np.mean):
            return func(*(value(a) if isinstance(a, Node) else a for a in args), **kwargs)
        raise NotTraceable(f"{func.__name__} is not an elementwise function")

    def _lift(self, x: Any) -> Any:
        if isinstance(x, np.ndarray):
            return bool(x) if x.dtype == bool and x.ndim == 0 else self.graph.leaf(x)
        return x


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


from . import algebra  # noqa: E402  nodes compute with it, it computes with nodes
