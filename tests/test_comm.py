"""Collectives: hand-worked transfers, limits, and reached ranks against simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routeline import comm
from routeline.comm import Network

NET = Network(link=400e9, nic=50e9, node=8.0, link_latency=3e-6, nic_latency=10e-6)


def test_all_reduce_inside_a_node_by_hand():
    """2 (g-1)/g of the message over the link: 8 ranks, 1 GB at 400 GB/s is 4.375 ms."""
    moved, fixed = comm.all_reduce(1e9, 8.0, NET)
    assert moved == pytest.approx(2 * 7 / 8 * 1e9 / 400e9, rel=1e-12)
    assert fixed == 3e-6
    assert comm.all_reduce(1e9, 1.0, NET) == (0.0, 0.0)


def test_all_reduce_across_nodes_moves_the_scattered_share():
    moved, fixed = comm.all_reduce(1e9, 16.0, NET)
    assert moved == pytest.approx(2 * 7 / 8 * 1e9 / 400e9 + 2 * 1 / 2 * (1e9 / 8) / 50e9, rel=1e-12)
    assert fixed == pytest.approx(13e-6)


def test_all_to_all_shares_near_and_far_by_hand():
    """16 ranks on two nodes: 7/16 stay on the link, 8/16 cross the NIC, both at once; 1/16 does not move."""
    moved, _ = comm.all_to_all(1e9, 16.0, NET)
    assert moved == pytest.approx(max(7 / 16 * 1e9 / 400e9, 8 / 16 * 1e9 / 50e9), rel=1e-12)
    assert comm.all_to_all(1e9, 1.0, NET) == (0.0, 0.0)


def test_wide_expert_parallelism_costs_more_a_token():
    """The share that leaves the node grows with the number of ranks."""
    ranks = np.array([8.0, 16.0, 32.0, 64.0])
    moved, _ = comm.all_to_all(1e9, ranks, NET)
    assert np.all(np.diff(moved) > 0)


def test_a_mesh_gives_small_groups_only_their_own_links():
    mesh = Network(link=448e9, nic=50e9, node=8.0, mesh_peers=7.0)
    assert mesh.inside(4.0) == pytest.approx(448e9 * 3 / 7)
    assert mesh.inside(8.0) == 448e9
    assert np.allclose(mesh.inside(np.array([2.0, 8.0])), [64e9, 448e9])


@settings(max_examples=100, deadline=None)
@given(ranks=st.sampled_from([1.0, 2.0, 4.0, 8.0, 16.0, 64.0]), size=st.floats(1.0, 1e12), faster=st.floats(1.0, 100.0))
def test_more_bandwidth_is_never_slower(ranks, size, faster):
    quick = Network(link=NET.link * faster, nic=NET.nic * faster, node=8.0)
    for rule in (comm.all_reduce, comm.all_to_all):
        slow, fast = rule(size, ranks, NET)[0], rule(size, ranks, quick)[0]
        assert fast <= slow * (1 + 1e-12)
        assert rule(2 * size, ranks, NET)[0] == pytest.approx(2 * slow, rel=1e-12)


@pytest.mark.parametrize("ranks", [2, 4, 8, 32, 64])
@pytest.mark.parametrize(("groups", "kept"), [(1, 1), (8, 4), (8, 2)])
def test_ranks_reached_match_simulation(ranks, groups, kept):
    """k = 8 of 256 experts; with groups a token may only use the experts of the kept ones."""
    rng = np.random.default_rng(11)
    found = []
    for _ in range(1500):
        score = rng.random(256)
        if groups > 1:
            allowed = rng.permutation(groups)[:kept]
            score = np.where(np.isin(np.arange(256) // (256 // groups), allowed), score, -1.0)
        found.append(len(set(np.argsort(-score)[:8] // (256 // ranks))))
    assert comm.ranks_reached(float(ranks), 8.0, float(groups), float(kept)) == pytest.approx(np.mean(found), rel=0.05)


def test_group_limits_never_reach_more_ranks_and_scalar_is_array():
    ranks = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 64.0])
    free, limited = comm.ranks_reached(ranks, 8.0), comm.ranks_reached(ranks, 8.0, 8.0, 4.0)
    assert np.all(limited <= free * (1 + 1e-9))
    assert np.all(limited <= np.minimum(ranks, 8.0) + 1e-9)
    assert np.allclose(limited, [comm.ranks_reached(float(r), 8.0, 8.0, 4.0) for r in ranks], rtol=1e-12)
    assert comm.ranks_reached(1.0, 8.0) == 1.0


def test_send_crosses_the_link_or_the_nic():
    near, far = comm.send(1e6, 3.0, NET, stride=4.0), comm.send(1e6, 3.0, NET, stride=8.0)
    assert near == (pytest.approx(3e6 / 400e9), pytest.approx(9e-6))
    assert far == (pytest.approx(3e6 / 50e9), pytest.approx(30e-6))
