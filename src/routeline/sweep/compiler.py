"""Traced formulas -> a list of NumPy calls: small values once, functions of a batch from tables, the rest per tile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .algebra import add, mul, product
from .graph import BOOLEAN, Graph, Node, operands, value
from .program import Call, Program, Register, Rows, count, execute, shape_of

ONCE = 2**17
"""A value with at most this many elements over the whole grid is computed once."""
TABLE = 2**21
"""Most entries of a table over a variable (and the axes it is tabulated with)."""


class _Compiler:
    def __init__(self, graph: Graph, shape: tuple[int, ...]) -> None:
        self.graph, self.shape, self.points = graph, shape, math.prod(shape)
        self.calls: list[Call] = []
        self.memo: dict[int, Any] = {}
        self.index: dict[int, Register] = {}
        self.tables: dict[Any, Any] = {}
        self.cost: dict[int, int] = {}
        self.ratios: dict[tuple[Register, Register], Register] = {}
        """Quotients by the registers themselves: an id would be another's once its register is gone."""
        self.definitions = {n.mask.bit_length() - 1: n for n in graph._nodes.values() if n.kind == "var"}

    # --- masks ---

    def real(self, mask: int) -> int:
        """Axes that a symbolic mask varies over, variables replaced by what defines them."""
        out = mask & ((1 << self.graph.axes) - 1)
        for bit, node in self.definitions.items():
            if mask >> bit & 1:
                out |= self.real(node.args[0].mask)
        return out

    def variables(self, mask: int) -> int:
        return mask >> self.graph.axes << self.graph.axes

    def work(self, node: Node) -> int:
        """Roughly how many elementwise calls a node takes."""
        found = self.cost.get(node.uid)
        if found is None:
            own = max(1, len(operands(node)))
            if node.kind == "power":
                own = 20
            elif node.kind in ("leaf", "var"):
                own = 20 if node.kind == "leaf" and self.variables(node.mask) else 0
            found = own + sum(self.work(n) for n in operands(node))
            self.cost[node.uid] = found
        return found

    # --- instructions ---

    def push(self, function: Any, args: tuple[Any, ...], dtype: Any = np.float64) -> Any:
        """Append a call (or do it now when its value is small over the whole grid)."""
        mask = 0
        for a in args:
            mask |= a.mask if isinstance(a, Register) else 0
        size = count(self.shape, mask)
        once = size <= min(ONCE, max(self.points // 4, 1)) and all(a.once for a in args if isinstance(a, Register))
        result = Register(mask, dtype, once)
        if not once:
            self.calls.append(Call(function, args, result))
            return result
        result.data = np.empty(shape_of(self.shape, mask), dtype)
        with np.errstate(all="ignore"):
            execute(function, [a.data if isinstance(a, Register) else a for a in args], result.data)
        return result

    def emit(self, node: Any) -> Any:
        """The register (or number) that holds a node."""
        if not isinstance(node, Node):
            return node
        found = self.memo.get(node.uid)
        if found is None:
            found = self.memo[node.uid] = self._emit(node)
        return found

    def _emit(self, node: Node) -> Any:
        if node.kind == "leaf" and not self.variables(node.mask):
            data = np.ascontiguousarray(node.args[0].reshape(node.args[0].shape[: self.graph.axes]))
            return Register(node.mask, np.float64, True, data)
        if node.kind == "var":
            return self.emit(node.args[0])
        if self._tabulated(node):
            return self._lookup(node)
        if node.kind == "sum":
            return self._emit_sum(node)
        if node.kind == "prod":
            return self._emit_prod(dict(node.args))
        args = tuple(self.emit(a) for a in node.args)
        if node.kind == "where":
            return self.push("where", args)
        return self.push(getattr(np, node.kind), args, np.bool_ if node.kind in BOOLEAN else np.float64)

    def _tabulated(self, node: Node) -> bool:
        """A node of one variable (and few axes) that costs more than looking it up."""
        var = self.variables(node.mask)
        if not var or var & (var - 1):
            return False
        extra = node.mask ^ var
        limit = 2 if not extra else 3
        if self.work(node) <= limit or (extra and not self._joint(node, var)):
            return False
        size = self.definitions[var.bit_length() - 1].args[1].size * count(self.shape, extra)
        return size <= TABLE

    def _joint(self, node: Node, var: int) -> bool:
        """Some function under a node takes the variable and another axis together: no product or sum of both."""
        if node.kind not in ("sum", "prod", "leaf", "var"):
            return True
        return any(self._joint(n, var) for n in operands(node) if n.mask & var and n.mask != var)

    def _lookup(self, node: Node) -> Any:
        var = self.variables(node.mask)
        extra = node.mask ^ var
        bit = var.bit_length() - 1
        definition = self.definitions[bit]
        table = np.moveaxis(value(node), bit, -1)
        entries = table.shape[-1]
        axes = tuple(n if extra >> i & 1 else 1 for i, n in enumerate(self.shape))
        flat = np.ascontiguousarray(
            np.broadcast_to(table.reshape(*table.shape[: len(axes)], entries), (*axes, entries))
        )
        dtype = np.bool_ if flat.dtype == bool else np.float64
        index = self._index(bit, definition)
        lowest = extra & -extra
        if extra and lowest > index.mask and count(self.shape, index.mask | extra) > ONCE:
            first = lowest.bit_length() - 1
            rows = np.ascontiguousarray(np.moveaxis(flat, -1, 0).reshape(entries, *axes[first:]))
            result = Register(index.mask | extra, dtype)
            self.calls.append(Call("rows", (Rows(rows, first), index), result))
            return result
        if extra:
            start = np.arange(math.prod(axes), dtype=np.intp).reshape(axes) * entries
            index = self.push(np.add, (index, Register(extra, np.intp, True, start)), np.intp)
        if not index.once:
            result = Register(index.mask, dtype)
            self.calls.append(Call("take", (flat.reshape(-1), index), result))
            return result
        return Register(index.mask, dtype, True, flat.reshape(-1).take(index.data, mode="clip"))

    def _index(self, bit: int, definition: Node) -> Register:
        if bit not in self.index:
            source = self.emit(definition.args[0])
            self.index[bit] = self.push("cast", (source,), np.intp)
        return self.index[bit]

    def _emit_sum(self, node: Node) -> Any:
        """Terms grouped so that tables and small arrays are added up before large ones."""
        tables, node = self._joint_tables(node)
        if not isinstance(node, Node):
            return self._total(tables, node)
        const, terms = node.args if node.kind == "sum" else (0.0, ((node, 1.0),))
        by_rest: dict[Any, tuple[Any, Any]] = {}
        plain: Any = const
        for n, c in terms:
            factors = dict(n.args) if n.kind == "prod" else {n: 1.0}
            own, rest = self._separate(factors)
            if own is None:
                plain = add(plain, mul(c, n))
                continue
            key = tuple(sorted((m.uid, e) for m, e in rest.items()))
            before = by_rest.get(key, (rest, 0.0))[1]
            by_rest[key] = (rest, add(before, mul(c, own)))
        groups: dict[Any, tuple[Any, Any]] = {}
        for rest, own in by_rest.values():
            outer = product(rest)
            if isinstance(own, Node) and not self._tabulated(own):
                single = (
                    own.args[1][0] if own.kind == "sum" and len(own.args[1]) == 1 and own.args[0] == 0.0 else (own, 1.0)
                )
                base, scale = single
                groups[base.uid] = (base, add(groups.get(base.uid, (base, 0.0))[1], mul(scale, outer)))
            else:
                groups[("t", len(groups))] = (own, outer)
        parts: list[Any] = tables
        bare: Any = plain
        for own, outer in groups.values():
            if not isinstance(outer, Node):
                if isinstance(own, Node) and self._tabulated(own):
                    if outer == 1.0 and not isinstance(bare, Node):
                        own, bare = add(own, bare), 0.0  # noqa: PLW2901
                    parts.append(self._times(outer, [self.emit(own)]))
                else:
                    bare = add(bare, mul(own, outer))
            else:
                parts.append(self._times(1.0, [self.emit(own), self.emit(outer)]))
        const, rest_terms = (
            (bare.args if bare.kind == "sum" else (0.0, ((bare, 1.0),))) if isinstance(bare, Node) else (bare, ())
        )
        alike: dict[int, Any] = {}
        done: set[int] = set()
        for n, c in rest_terms:
            alike[n.mask] = add(alike.get(n.mask, 0.0), mul(c, n))
        for n, c in rest_terms:
            whole = alike[n.mask]
            if self.variables(n.mask) and self._tabulated(whole):
                if n.mask not in done:
                    parts.append(self._lookup(whole))
                    done.add(n.mask)
                continue
            parts.append(self._times(c, [self._emit_prod(dict(n.args)) if n.kind == "prod" else self.emit(n)]))
        return self._total(parts, const)

    def _total(self, parts: list[Any], const: Any) -> Any:
        """Sum of registers and numbers, small arrays first."""
        small: dict[int, Any] = {}
        for p in parts:
            if isinstance(p, Register):
                small[p.mask] = self.push(np.add, (small[p.mask], p)) if p.mask in small else p
            else:
                const = const + p
        ordered = sorted(small.values(), key=lambda r: count(self.shape, r.mask))
        out: Any = const if const != 0.0 or not ordered else None
        for r in ordered:
            out = r if out is None else self.push(np.add, (r, out))
        return out

    def _joint_tables(self, node: Node) -> tuple[list[Any], Any]:
        """Terms with a function of one variable and few axes together, as tables over both times the rest.

        Returns (registers to add up, what is left of the sum). Terms over the same variable and axes
        alone, and the constant, go into such a table for free.
        """
        const, terms = node.args
        split_terms = [(c, dict(n.args) if n.kind == "prod" else {n: 1.0}) for n, c in terms]
        seen: dict[int, int] = {}
        for _, factors in split_terms:
            for n in factors:
                if n.mask != self.variables(n.mask) and n.kind not in ("leaf", "var") and self._tabulated(n):
                    seen[n.mask] = seen.get(n.mask, 0) + 1
        if not seen:
            return [], node
        mask = max(seen, key=lambda m: (seen[m], -m))
        groups: dict[Any, tuple[dict[Node, float], Any]] = {}
        left: Any = 0.0
        alone: Any = const
        for c, factors in split_terms:
            own = {n: e for n, e in factors.items() if n.mask | mask == mask}
            rest = {n: e for n, e in factors.items() if n not in own}
            whole = mul(c, product(own))
            if any(n.mask == mask for n in own):
                key = tuple(sorted((m.uid, e) for m, e in rest.items()))
                groups[key] = (rest, add(groups.get(key, (rest, 0.0))[1], whole))
            elif not rest:
                alone = add(alone, whole)
            else:
                left = add(left, mul(c, product(factors)))
        if () in groups:
            groups[()] = ({}, add(groups[()][1], alone))
        else:
            left = add(left, alone)
        found = []
        for rest, own in groups.values():
            table = self._lookup(own)
            found.append(self._times(1.0, [table, self.emit(product(rest))]) if rest else table)
        return found, left

    def _separate(self, factors: dict[Node, float]) -> tuple[Any, dict[Node, float]]:
        """(product of the factors over one variable alone, the rest); (None, ...) when there are none."""
        var = 0
        for n in factors:
            v = self.variables(n.mask)
            if v and n.mask == v and not v & (v - 1):
                var = v
                break
        if not var:
            return None, factors
        own = {n: e for n, e in factors.items() if n.mask == var}
        return product(own), {n: e for n, e in factors.items() if n.mask != var}

    def _times(self, c: float, parts: list[Any]) -> Any:
        number = c
        small: dict[int, Any] = {}
        for p in parts:
            if isinstance(p, Register):
                small[p.mask] = self.push(np.multiply, (small[p.mask], p)) if p.mask in small else p
            else:
                number = number * p
        ordered = sorted(small.values(), key=lambda r: count(self.shape, r.mask))
        out: Any = number if number != 1.0 or not ordered else None
        for r in ordered:
            out = r if out is None else self.push(np.multiply, (r, out))
        return out

    def _emit_prod(self, factors: dict[Node, float]) -> Any:
        own, rest = self._separate(factors)
        above: list[Any] = []
        below: list[Any] = []
        if own is not None and isinstance(own, Node) and len(own.args) > 1 and self._tabulated(own):
            above.append(self._lookup(own))
            factors = rest
        for n, e in factors.items():
            r = self.emit(n)
            if e == 1.0:
                above.append(r)
            elif e == -1.0:
                below.append(r)
            elif e < 0 and e == round(e) and e >= -3:
                below.extend([r] * int(-e))
            elif e > 0 and e == round(e) and e <= 3:
                above.extend([r] * int(e))
            elif e == 0.5:
                above.append(self.push(np.sqrt, (r,)))
            else:
                above.append(self.push(np.power, (r, e)))
        return self._quotient(above, below)

    def _quotient(self, above: list[Any], below: list[Any]) -> Any:
        """Product of `above` over product of `below`, small arrays first, so that few calls are large."""
        number = 1.0
        groups: dict[int, list[Any]] = {}
        above, below = self._known_ratios(list(above), list(below))
        for side, parts in enumerate((above, below)):
            for p in parts:
                if not isinstance(p, Register):
                    number = number * p if side == 0 else number / p
                    continue
                pair = groups.setdefault(p.mask, [None, None])
                pair[side] = p if pair[side] is None else self.push(np.multiply, (pair[side], p))
        out: Any = number if number != 1.0 or not groups else None
        for mask in sorted(groups, key=lambda m: count(self.shape, m)):
            top, bottom = groups[mask]
            if top is None:
                out = self.push(np.divide, (1.0 if out is None else out, bottom))
                continue
            if bottom is not None:
                pair = (top, bottom)
                top = self.ratios[pair] = self.push(np.divide, pair)
            out = top if out is None else self.push(np.multiply, (top, out))
        return out

    def _known_ratios(self, above: list[Any], below: list[Any]) -> tuple[list[Any], list[Any]]:
        """Replace pairs whose quotient has been computed already."""
        for top in [a for a in above if isinstance(a, Register)]:
            for bottom in below:
                found = self.ratios.get((top, bottom)) if isinstance(bottom, Register) else None
                if found is not None:
                    above.remove(top)
                    below.remove(bottom)
                    above.append(found)
                    break
        return above, below


def compile_(graph: Graph, shape: tuple[int, ...], outputs: Mapping[str, Any]) -> Program:
    """A program that computes `outputs` over a grid of `shape` (one length per axis of the graph)."""
    compiler = _Compiler(graph, shape)
    results = {name: compiler.emit(node) for name, node in outputs.items()}
    calls = _needed(compiler.calls, results)
    program = Program(shape=shape, calls=[], outputs=results)
    _allocate(program, calls, results)
    return program


def _needed(calls: list[Call], results: Mapping[str, Any]) -> list[Call]:
    wanted = {r for r in results.values() if isinstance(r, Register)}
    kept = []
    for call in reversed(calls):
        if call.result in wanted:
            kept.append(call)
            wanted.update(a for a in call.operands if isinstance(a, Register))
    return kept[::-1]


def _allocate(program: Program, calls: list[Call], results: Mapping[str, Any]) -> None:
    """Assign buffers: a slot is free again after the last use of its value; same-shaped results reuse it in place."""
    last: dict[Register, int] = {}
    for i, call in enumerate(calls):
        for a in call.operands:
            if isinstance(a, Register) and not a.once:
                last[a] = i
    for r in results.values():
        if isinstance(r, Register) and not r.once:
            last[r] = len(calls)
    free: dict[tuple[int, Any], list[int]] = {}
    for i, call in enumerate(calls):
        used = dict.fromkeys(a for a in call.operands if isinstance(a, Register))
        ending = [a for a in used if not a.once and last.get(a) == i]
        in_place = call.function not in ("take", "rows", "where", "cast")
        if in_place:
            for a in ending:
                free.setdefault((a.mask, a.dtype), []).append(a.slot)
        spare = free.get((call.result.mask, call.result.dtype))
        if spare:
            call.result.slot = spare.pop()
        else:
            call.result.slot = len(program.slots)
            program.slots.append((call.result.mask, call.result.dtype))
        if not in_place:
            for a in ending:
                free.setdefault((a.mask, a.dtype), []).append(a.slot)
    program.calls = calls
