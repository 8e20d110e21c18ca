"""The ground that both sides of a comparison stand on, and the layouts each may use there.

A scenario and a cluster become rates, memory, a workload and routing; a model becomes counts in the scenario's formats.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from . import arch, comm, counts, estimate, layouts, routing, tiers
from .arch import Model
from .counts import Counted
from .hardware import Cluster
from .routing import Routing
from .scenario import Efficiency, Layout, Precision, Scenario, Workload
from .side import Ground


def network(cluster: Cluster) -> comm.Network:
    """The cluster's two-level network with the start-up floors of its links [s]."""
    joined = cluster.node > 1 and cluster.count > 1
    link = (cluster.link.bandwidth if cluster.link else cluster.link_bandwidth) if joined else math.inf
    mesh = joined and cluster.link is not None and cluster.link.topology == "mesh"
    several = cluster.count > cluster.node
    nic = cluster.nic_bandwidth if several else math.inf
    return comm.Network(
        link=float(link), nic=float(nic), node=float(cluster.node),
        link_latency=float(cluster.link.hop) if cluster.link is not None else 0.0,
        nic_latency=float(cluster.nic.hop) if cluster.nic is not None and several else 0.0,
        mesh_peers=float(cluster.link.peers) if mesh and cluster.link else 0.0,
    )  # fmt: skip


def capacity(cluster: Cluster, scenario: Scenario) -> Any:
    """Bytes per device for weights and cache: memory * utilisation - overhead [B] (docs/physics.md section 4)."""
    return float(cluster.device.memory(scenario.memory)) * scenario.utilisation - scenario.overhead


def workload(scenario: Scenario) -> Workload:
    """The decode step of a scenario: 1 + draft tokens verified, 1 + draft * accept counted as output."""
    return Workload(
        context=scenario.context,
        tokens_per_sequence=1.0 + scenario.draft,
        accepted=1.0 + scenario.draft * scenario.accept,
    )


def make_ground(
    cluster: Cluster, scenario: Scenario, routed: Routing | None = None, efficiency: Efficiency | None = None
) -> Ground:
    """What both sides share.

    Raises:
        RoutelineError: unknown tier or routing, or a compute format the device lacks.
    """
    if efficiency is None:
        efficiency = tiers.efficiency(scenario.tier, cluster.device, engine=scenario.engine, layout=scenario.layout)
    precision = Precision(weights=scenario.weights, cache=scenario.cache, compute=scenario.compute)
    rates, _ = estimate.rates(cluster.device, network(cluster), precision)
    chosen = routed if routed is not None else routing.parse(scenario.routing)
    if scenario.redundant:
        chosen = Routing(chosen.name, chosen.exponent, chosen.probabilities, scenario.redundant)
    return Ground(
        devices=cluster.count, node=cluster.node, rates=rates, capacity=capacity(cluster, scenario),
        workload=workload(scenario), efficiency=efficiency, routing=chosen,
    )  # fmt: skip


def prepared(model: Model, scenario: Scenario) -> Counted:
    """The model in the scenario's weight and cache format, counted once and kept."""
    return _prepared(model, scenario.weights, scenario.cache, bool(scenario.draft))


@lru_cache(maxsize=128)
def _prepared(model: Model, weights: str, cache: str, with_mtp: bool) -> Counted:
    stored = model if weights == "native" else arch.restore(model, weights)
    return counts.count(stored, cache, with_mtp=with_mtp)


def options(counted: Counted, cluster: Cluster, scenario: Scenario, role: str) -> Layout:
    """The layouts a side may use: all that `auto` knows, the pool, or the one asked for.

    A dense opponent cannot spread experts: for it `ep` and `moe_tp` are dropped from a layout that was
    written for the MoE, and attention data parallelism becomes replicas.
    """
    text = scenario.layout.strip().lower()
    layouts.check_spare(counted, cluster.count, float(scenario.redundant))
    if text == "auto":
        return layouts.candidates(counted, cluster.count, cluster.node, scenario.redundant)
    layout = layouts.parse(text, cluster.count)
    if role == "dense" and not layout.pooled and not counted.moe_layers:
        layout = Layout(
            tp=layout.tp, pp=layout.pp, cp=layout.cp, moe_tp=layout.tp, replicas=layout.replicas * layout.dp
        )
    layouts.check(layout, counted, cluster.count, float(scenario.redundant))
    return layout
