"""Numbers over batches, cluster sizes and expert-parallel widths."""

from __future__ import annotations

import numpy as np

from .. import layouts, memory, side
from ..compare import Comparison
from ..devices import make_cluster
from ..errors import RoutelineError
from ..ground import make_ground, options
from ..scenario import Layout
from . import data, parts
from .grid import leading


def frontier(c: Comparison) -> data.Rows:
    """Tokens/s/device against tokens/s/user for each side: every layout and batch, the upper envelope kept."""
    out: data.Rows = []
    for role, label, one in data.sides(c):
        limit = np.atleast_1d(np.asarray(side.max_batch(one.counted, c.ground, one.options), float))
        top = float(limit.max())
        if top < 1:
            continue
        fine = np.concatenate([np.arange(1.0, 17.0), np.round(2.0 ** np.arange(4.125, np.log2(top) + 0.125, 0.125))])
        fullest = np.unique(limit[limit >= 1])[-32:]
        batches = np.unique(np.concatenate([fine[fine <= top], fullest]))
        step = side.step_at(one.counted, c.ground, leading(one.options, 1), batches)
        rate = np.where(batches <= limit[:, None], np.broadcast_to(step.rate, (limit.size, batches.size)), 0.0)
        index = np.argmax(rate, axis=0)
        total = rate[index, np.arange(batches.size)]
        points = sorted(zip(total / batches, total / c.cluster.count, batches, index, strict=True), reverse=True)
        highest = 0.0
        for user, device, batch, which in points:
            if device > highest:
                highest = device
                layout = layouts.pick(one.options, int(which)) if np.ndim(one.options.tp) else one.options
                out.append(
                    {
                        "role": role,
                        "side": label,
                        "user": float(user),
                        "device": float(device),
                        "batch": float(batch),
                        "layout": str(layout),
                    }
                )
    return out


def over_devices(c: Comparison, sizes: list[int] | None = None) -> data.Rows:
    """Largest batch of each side over cluster size (0: does not fit), all and per device; layouts searched anew."""
    node = c.cluster.node
    out: data.Rows = []
    for n in sizes or _sizes(c):
        try:
            cluster = make_cluster(c.cluster.device, n, node if n > node else None)
            ground = make_ground(cluster, c.scenario, c.ground.routing, c.ground.efficiency)
            found = [side.at_max(one.counted, ground, options(one.counted, cluster, c.scenario, role))
                     for role, _, one in data.sides(c)]  # fmt: skip
        except RoutelineError:
            continue
        out += [
            {"role": role, "side": label, "devices": n, "fits": point is not None,
             "batch": point.batch if point else 0.0, "each": point.batch / n if point else 0.0,
             "rate": point.rate / n if point else 0.0}
            for (role, label, _), point in zip(data.sides(c), found, strict=True)
        ]  # fmt: skip
    return out


def _sizes(c: Comparison) -> list[int]:
    """1, 2, 4 ... a node, then doubled nodes, past what both sides need; the cluster asked about among them."""
    node = c.cluster.node
    most = max([one.devices_needed or 0 for _, _, one in data.sides(c)] + [2 * c.cluster.count, node])
    sizes = {2**i for i in range(20) if 2**i <= min(node, 4 * most)} | {c.cluster.count}
    n = node
    while n < 4 * most and len(sizes) < 14:
        sizes.add(n)
        n *= 2
    sizes |= {n for _, _, one in data.sides(c) if (n := one.devices_needed)}
    return sorted(sizes)


SPREAD = ("everything else, one copy on each", "routed experts")
"""Parts of the width chart, in stacking order."""


def over_width(c: Comparison, limit: int = 512) -> data.Rows:
    """Weight GB on a device over expert-parallel width: attention data parallel over the same ranks, tp = 1."""
    if not np.any(c.moe.counted.moe_layers):
        raise RoutelineError(f"{c.model.name} has no routed experts to spread")
    experts = int(np.max(c.moe.counted.experts))
    out: data.Rows = []
    for width in layouts._divisors(experts):
        if width > limit:
            break
        layout = Layout(dp=float(width), ep=float(width))
        total = float(memory.weights_per_device(c.moe.counted, layout, c.ground.routing.redundant))
        routed = parts.weights_by_part(c, c.moe, layout).get(SPREAD[1], 0.0)
        shares = ((SPREAD[0], total - routed), (SPREAD[1], routed))
        out += [{"ep": width, "part": p, "gb": b / 1e9, "total_gb": total / 1e9, "order": i}
                for i, (p, b) in enumerate(shares)]  # fmt: skip
    return out
