"""Devices, links and clusters as values: validation, provenance, topology."""

import pickle

import pytest

from routeline.errors import RoutelineError
from routeline.hardware import Cluster, Device, Link, Sourced, SourcedCount


def device(**change):
    base = {"name": "toy", "memory_marketed": 80e9, "bandwidth": 2e12, "peaks": {"bf16": 3e14, "fp8": 6e14}}
    return Device(**(base | change))


def link(**change):
    base = {"name": "mesh", "bandwidth": 448e9, "topology": "mesh", "peers": 7}
    start_up = {"hop": 1e-6, "all_reduce": 1e-5, "dispatch": 2e-5, "combine": 3e-5}
    return Link(**(base | start_up | change))


def test_arithmetic_on_a_sourced_value_loses_the_source():
    value = Sourced(4.8e12, "published", "a page")
    assert (value.kind, value.source) == ("published", "a page")
    assert not hasattr(0.9 * value, "source")
    assert not hasattr(SourcedCount(8, "published", "a page") + 1, "source")


def test_sourced_values_survive_pickling_so_that_processes_can_share_them():
    for value in (Sourced(4.8e12, "published", "a page"), SourcedCount(8, "guess", "a page")):
        again = pickle.loads(pickle.dumps(value))
        assert (again, again.kind, again.source) == (value, value.kind, value.source)


def test_a_changed_device_cannot_pass_for_the_catalogue_one():
    changed = device().but(bandwidth=4e12)
    assert changed.name == "toy (modified)"
    assert changed.bandwidth == 4e12
    assert device().but(name="mine").name == "mine"


@pytest.mark.parametrize(
    "change",
    [
        {"memory_marketed": 0.0},
        {"memory_usable": -1.0},
        {"bandwidth": float("nan")},
        {"bandwidth": float("inf")},
        {"link": 0.0},
        {"peaks": {}},
        {"peaks": {"bf16": 0.0}},
        {"peaks": {"fp7": 1e12}},
        {"domain": 0},
        {"topology": "star"},
    ],
)
def test_impossible_devices_are_refused_by_name(change):
    with pytest.raises(RoutelineError, match="toy"):
        device(**change)


def test_memory_bases():
    assert device().memory("usable") == 80e9, "no reading: the marketed size stands in"
    assert device(memory_usable=85e9).memory("usable") == 85e9
    assert device(memory_usable=85e9).memory("marketed") == 80e9


def test_a_format_without_a_peak_is_computed_in_the_next_wider_one():
    assert device().compute_format("fp4") == "fp8"
    assert device(peaks={"bf16": 3e14}).compute_format("fp4") == "bf16"
    assert device().compute_format("int4") == "bf16"
    assert device(peaks={"int8": 3e14}).compute_format("fp8") is None


def test_a_group_in_a_full_mesh_uses_only_the_links_among_its_members():
    assert link().group_bandwidth(2) == 64e9
    assert link().group_bandwidth(4) == 192e9
    assert link().group_bandwidth(8) == 448e9
    assert link().group_bandwidth(16) == 448e9
    assert link(topology="switch").group_bandwidth(2) == 448e9


def test_cluster_links_follow_the_group_that_uses_them():
    four = Cluster(
        device=device(), count=8, node=4, link=link(), nic=link(name="NIC", bandwidth=5e10, topology="network")
    )
    assert four.link_bandwidth == 192e9
    assert four.nic_bandwidth == 5e10


def test_an_unknown_link_is_an_error_not_a_default():
    bare = Cluster(device=device(), count=8, node=8)
    with pytest.raises(RoutelineError, match="link"):
        _ = bare.link_bandwidth
    with pytest.raises(RoutelineError, match="network"):
        _ = bare.nic_bandwidth
    known = Cluster(device=device(link=3e11, nic=2e10), count=8, node=8)
    assert (known.link_bandwidth, known.nic_bandwidth) == (3e11, 2e10)


def test_cluster_names_and_limits():
    assert Cluster(device=device(), count=8, node=8).name == "8xtoy"
    assert Cluster(device=device(), count=16, node=8).name == "2x8xtoy"
    assert Cluster(device=device(), count=4, node=1).name == "4xtoy"
    for count, node in ((0, 1), (10**8, 8), (8, 0)):
        with pytest.raises(RoutelineError):
            Cluster(device=device(), count=count, node=node)
