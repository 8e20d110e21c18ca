"""Collectives: bytes and hops -> seconds on a two-level network. Knows no model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .numeric import choose, clip, maximum


@dataclass(frozen=True, kw_only=True)
class Network:
    """Two levels: `node` devices joined by `link`, nodes joined by `nic`; rates per device and direction.

    Latencies are one collective's fixed time on each level [s]. mesh_peers: in a full mesh the rate is
    spread over this many direct links and a group of g uses g - 1 of them (4 of 8 MI300X: 3/7); 0 for a
    switch, where any group gets the whole rate.
    """

    link: Any = field(metadata={"unit": "B/s"})
    nic: Any = field(metadata={"unit": "B/s"})
    node: Any = field(metadata={"unit": "devices"})
    link_latency: Any = field(default=0.0, metadata={"unit": "s"})
    nic_latency: Any = field(default=0.0, metadata={"unit": "s"})
    mesh_peers: Any = 0.0

    def inside(self, group: Any) -> Any:
        """Rate of one device inside a group of `group` devices of its node [B/s]."""
        if isinstance(self.mesh_peers, float) and self.mesh_peers == 0.0:
            return self.link
        share = clip((group - 1.0) / maximum(self.mesh_peers, 1.0), 1.0 / maximum(self.mesh_peers, 1.0), 1.0)
        return self.link * choose(self.mesh_peers > 0, share, 1.0)


def all_reduce(message: Any, ranks: Any, net: Network, *, stride: Any = 1.0) -> tuple[Any, Any]:
    """(seconds of transfer, fixed seconds) to sum `message` bytes over `ranks` devices [s].

    Bandwidth-optimal reduce-scatter + all-gather: 2 (g-1)/g of the message per rank inside a node
    (Patarasu & Yuan 2009), then the same over nodes on the scattered share. `stride`: distance between
    neighbouring ranks in devices, which decides how many share a node. ranks = 1 costs nothing.
    """
    inside = clip(net.node / stride, 1.0, ranks)
    nodes = ranks / inside
    transfer = 2.0 * (inside - 1.0) / inside * message / net.inside(inside)
    transfer = transfer + 2.0 * (nodes - 1.0) / nodes * (message / inside) / net.nic
    return transfer, _latency(inside, nodes, net)


def all_to_all(sent: Any, ranks: Any, net: Network, *, stride: Any = 1.0) -> tuple[Any, Any]:
    """(seconds of transfer, fixed seconds) when each rank sends `sent` bytes in all, evenly over ranks [s].

    The share for ranks of the same node uses the link, the rest the NIC; both run at once.
    `sent` counts the rank's own share too, which stays local: (g-1)/g of it moves.
    """
    inside = clip(net.node / stride, 1.0, ranks)
    nodes = ranks / inside
    near = sent * (inside - 1.0) / ranks / net.inside(inside)
    far = sent * (ranks - inside) / ranks / net.nic
    return maximum(near, far), _latency(inside, nodes, net)


def send(message: Any, hops: Any, net: Network, *, stride: Any = 1.0) -> tuple[Any, Any]:
    """(seconds of transfer, fixed seconds) of `hops` point-to-point sends of `message` bytes [s]."""
    near = stride < net.node
    rate = choose(near, net.inside(2.0), net.nic)
    latency = choose(near, net.link_latency, net.nic_latency)
    return hops * message / rate, hops * latency


def _latency(inside: Any, nodes: Any, net: Network) -> Any:
    return net.link_latency * (inside > 1.0) + net.nic_latency * (nodes > 1.0)


def ranks_reached(ranks: Any, top_k: Any, groups: Any = 1.0, kept: Any = 1.0) -> Any:
    """Expected distinct expert-parallel ranks that one token is sent to [-].

    g * (1 - (1 - 1/g)**k) over the g ranks its experts can be on; group-limited routing (DeepSeek-V3:
    4 of 8 groups, arXiv:2412.19437 section 2.1.2) leaves g = ranks * kept/groups of them. Fewer ranks than
    groups hold several groups each: j of them are kept with hypergeometric chance, and then the rank is
    missed with (1 - j/kept)**k. A token's copy is sent once per rank, however many of its experts live
    there. Experts are drawn with replacement here, which understates the ranks by at most 5%
    (tests/test_comm.py simulates it).
    """
    reachable = maximum(ranks * kept / groups, 1.0)
    reached = reachable * (1.0 - (1.0 - 1.0 / reachable) ** top_k)
    if np.ndim(groups) or np.ndim(kept) or groups <= 1.0:
        return reached
    if np.ndim(ranks) == 0:
        return _few_ranks(float(ranks), top_k, int(groups), int(kept)) if ranks < groups else reached
    few = sorted({float(n) for n in np.ravel(ranks) if n < groups})
    for n in few:
        reached = np.where(np.asarray(ranks) == n, _few_ranks(n, top_k, int(groups), int(kept)), reached)
    return reached


def _few_ranks(ranks: float, top_k: Any, groups: int, kept: int) -> Any:
    """Ranks reached where each holds groups/ranks whole groups."""
    own = max(round(groups / ranks), 1)
    missed: Any = 0.0
    for j in range(max(0, kept - (groups - own)), min(own, kept) + 1):
        chance = math.comb(own, j) * math.comb(groups - own, kept - j) / math.comb(groups, kept)
        missed = missed + chance * (1.0 - j / kept) ** top_k
    return ranks * (1.0 - missed)
