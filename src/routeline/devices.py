"""Clusters from '2x8xH100': devices of the catalogue or a file, the links among them, and what to say of both."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from typing import Any

from .device_catalog import (
    WRITE,
    all_devices,
    data_text,
    device_names,
    is_known,
    load_device,
    load_device_file,
    load_noted,
    resolve_device,
)
from .errors import RoutelineError, UnknownName, shorten
from .hardware import Cluster, Device, Link, Sourced
from .units import parse

__all__ = [
    "all_devices",
    "cluster_warnings",
    "describe",
    "describe_links",
    "device_link",
    "device_names",
    "device_nic",
    "device_warnings",
    "link_classes",
    "load_device",
    "load_device_file",
    "make_cluster",
    "node_limit",
    "parse_devices",
    "resolve_device",
]

_COUNTS = re.compile(r"\s*([+-]?[0-9][0-9.,_]*)\s*[x×*]\s*(?=\S)", re.IGNORECASE)


# --- links -----------------------------------------------------------------------------------------------------------


@cache
def _interconnect() -> dict[str, Any]:
    return tomllib.loads(data_text("interconnect.toml"))


def _constant(section: str, key: str, dimension: str) -> Sourced:
    entry = _interconnect()[section][key]
    return Sourced(parse(entry["value"], dimension, f"{section}.{key}"), entry["kind"], entry["source"])


def link_classes() -> tuple[str, ...]:
    """Classes of links whose start-up times data/interconnect.toml states."""
    return tuple(name for name in _interconnect() if name != "defaults")


@cache
def _start_up(link_class: str, key: str) -> Sourced:
    return _constant(link_class if link_class in link_classes() else "custom", key, "s")


def _link(name: str, bandwidth: Sourced, topology: str, peers: int, link_class: str) -> Link:
    return Link(
        name=name,
        bandwidth=bandwidth,
        topology=topology,
        peers=peers,
        hop=_start_up(link_class, "hop"),
        all_reduce=_start_up(link_class, "all_reduce"),
        dispatch=_start_up(link_class, "dispatch"),
        combine=_start_up(link_class, "combine"),
    )


def node_limit(device: Device) -> int:
    """Most devices one node can hold: the link domain, or the cards of one PCIe server (a guess)."""
    if device.domain == 1 and device.topology == "host" and device.link is not None:
        entry = _interconnect()["defaults"]["host_devices"]
        return int(entry["value"].split()[0])
    return int(device.domain)


def device_link(device: Device) -> Link | None:
    """The connection among the devices of one node; None where none is known."""
    if device.link is None or node_limit(device) == 1:
        return None
    name, rate = device.link_name or "link", _sourced(device.link)
    return _link(name, rate, device.topology, node_limit(device) - 1, device.link_class)


def device_nic(device: Device) -> Link:
    """The connection between nodes; the stated guess of data/interconnect.toml where the device has none."""
    rate = _sourced(device.nic) if device.nic is not None else _constant("defaults", "nic", "B/s")
    return _link("NIC", rate, "network", 1, "nic")


def _sourced(value: float) -> Sourced:
    return value if isinstance(value, Sourced) else Sourced(value, "given", "set by the caller")


# --- clusters --------------------------------------------------------------------------------------------------------


def make_cluster(device: Device, count: int, node: int | None = None, notes: tuple[str, ...] = ()) -> Cluster:
    """`count` devices in nodes of `node`, with links filled in; also the way to resize a cluster.

    Without `node`, a count within the link domain is one node and a larger one is split into whole
    domains (16 H100 = 2 nodes of 8).

    Raises:
        RoutelineError: no device or too many, a node beyond the domain, a count that leaves a node part
            filled, several devices without a known link, or a device that is listed for reference only.
    """
    if device.footnote:
        raise RoutelineError(
            f"{device.name} is listed for reference only, because a per-device roofline does not describe it; "
            "choose another device, `routeline devices` lists them"
        )
    if not 1 <= count <= 10**7:
        raise RoutelineError(f"device count must be between 1 and 10,000,000, not {count}; {WRITE}")
    limit = node_limit(device)
    if count > 1 and device.link is None and device.nic is None and (device.topology == "none" or limit > 1):
        raise RoutelineError(
            f"{count}x{device.name}: no link between two of these is known; use one, or describe them in a TOML file "
            "with link and domain, or nic"
        )
    if node is None:
        node = min(count, limit)
        if count % node:
            raise RoutelineError(f"{count}x{device.name} does not fill nodes of {node}; {_even(device, count, limit)}")
    if not 1 <= node <= limit:
        raise RoutelineError(_beyond(device, count, node, limit))
    if count % node:
        raise RoutelineError(f"{count} devices do not fill nodes of {node}; {_even(device, count, node)}")
    return Cluster(device=device, count=count, node=node, link=device_link(device), nic=device_nic(device), notes=notes)


def _even(device: Device, count: int, limit: int) -> str:
    size = next(n for n in range(limit, 0, -1) if count % n == 0)
    full = count // limit * limit
    choices = [f"{n}x{device.name}" for n in (full, full + limit) if n]
    if size > 1:
        choices.append(f"{count // size}x{size}x{device.name}")
    return f"write {' or '.join(choices)}"


def _beyond(device: Device, count: int, node: int, limit: int) -> str:
    if node < 1:
        return f"devices per node must be at least 1, not {node}; {WRITE}"
    what = "one server" if device.topology == "host" else f"the {device.link_name or 'link'} domain"
    return (
        f"{node} {device.name} in one node exceed {what} of {limit}; write {count}x{device.name} for nodes of {limit}, "
        "or give a TOML file with a larger domain"
    )


def parse_devices(text: str) -> Cluster:
    """'8xH200' | '2x8xH100' (2 nodes of 8) | '72xGB200' | 'H100' | '8x./mydevice.toml' -> Cluster.

    Raises:
        RoutelineError: not of this form, an unknown device, or what make_cluster refuses.
    """
    if not isinstance(text, str) or not text.strip() or len(text) > 1000:
        raise RoutelineError(f"devices {shorten(text)!r} not understood; {WRITE}")
    rest, counts = text.strip(), []
    while len(counts) < 3 and (match := _COUNTS.match(rest)):
        counts.append(_whole(match[1]))
        rest = rest[match.end() :]
    if len(counts) > 2:
        raise RoutelineError(f"devices {shorten(text)!r} have more than two counts; {WRITE}")
    if any(n < 1 for n in counts):
        raise RoutelineError(f"devices {shorten(text)!r}: a count must be at least 1; {WRITE}")
    if re.fullmatch(r"[0-9]*\s*[x×*]?", rest, re.IGNORECASE) and not is_known(rest):
        raise RoutelineError(f"devices {shorten(text)!r} name no device; {WRITE}")
    device, notes = _load_counted(rest, text)
    if len(counts) == 2:
        return make_cluster(device, counts[0] * counts[1], counts[1], notes)
    return make_cluster(device, counts[0] if counts else 1, notes=notes)


def _load_counted(rest: str, text: str) -> tuple[Device, tuple[str, ...]]:
    try:
        return load_noted(rest)
    except UnknownName:
        after = re.fullmatch(r"\s*(.*\S)\s*[x×*]\s*([0-9]{1,9})\s*", rest, re.IGNORECASE)
        before = re.fullmatch(r"\s*([0-9]{1,9})\s+(.*\S)\s*", rest)
        count, name = (after[2], after[1]) if after else (before[1], before[2]) if before else ("", "")
        if not name:
            raise
        full, _ = resolve_device(name)
        raise RoutelineError(f"devices {shorten(text)!r}: the count comes first; write {count}x{full}") from None


def _whole(text: str) -> int:
    digits = text.removeprefix("+")
    if len(text) > 20 or not re.fullmatch(r"-?[0-9]+", digits):
        raise RoutelineError(f"device count {shorten(text, 40)!r} is not a whole number; {WRITE}")
    return int(digits)


# --- what the answer must say ----------------------------------------------------------------------------------------


def device_warnings(device: Device, basis: str = "usable") -> list[str]:
    """What an answer on one device must say: unknown usable memory, guesses, its caution."""
    found = []
    if basis == "usable" and device.memory_usable is None:
        found.append(f"{device.name}: no driver reading of its memory is known; the marketed size is used")
    if device.caution:
        found.append(f"{device.name}: {device.caution}")
    matter = {"memory_marketed", "memory_usable", "bandwidth"} | {f"peaks.{fmt}" for fmt in device.peaks}
    if basis == "usable" and device.memory_usable is not None:
        matter -= {"memory_marketed"}
    guessed = [row["name"] for row in describe(device) if row["kind"] == "guess" and row["name"] in matter]
    if guessed:
        found.append(f"{device.name}: guessed, not sourced: {', '.join(guessed)}")
    return found


def cluster_warnings(cluster: Cluster, basis: str = "usable") -> list[str]:
    """device_warnings, plus what the links in use rest on."""
    device, found = cluster.device, device_warnings(cluster.device, basis)
    if cluster.count > 1 and cluster.node > 1:
        if isinstance(device.link, Sourced) and device.link.kind == "guess":
            found.append(f"{device.name}: link of {device.link / 1e9:g} GB/s is a guess: {device.link.source}")
        if device.domain == 1:
            found.append(f"{device.name}: up to {node_limit(device)} cards are assumed to share one PCIe server")
        if getattr(device.domain, "kind", "") == "guess":
            found.append(f"{device.name}: link domain of {int(device.domain)} devices is a guess")
        if device.topology == "torus":
            found.append(f"{device.name}: a torus is counted as if every pair had the full link rate: optimistic")
    if cluster.count > cluster.node:
        nic = device_nic(device).bandwidth
        if isinstance(nic, Sourced) and nic.kind == "guess":
            found.append(f"{device.name}: network of {nic / 1e9:g} GB/s per device is a guess: {nic.source}")
    return found


def _row(name: str, value: float, unit: str) -> dict[str, Any]:
    number = int(value) if isinstance(value, int) else float(value)
    kind, source = getattr(value, "kind", "given"), getattr(value, "source", "set by the caller")
    return {"name": name, "value": number, "unit": unit, "kind": kind, "source": source}


def describe(device: Device) -> list[dict[str, Any]]:
    """Every known value of a device: name, value (SI), unit, kind, source. Unknown ones are left out."""
    units = {
        "memory_marketed": "B", "memory_usable": "B", "bandwidth": "B/s", "link": "B/s",
        "domain": "devices", "nic": "B/s", "power": "W",
    }  # fmt: skip
    rows = [_row(key, value, unit) for key, unit in units.items() if (value := getattr(device, key)) is not None]
    return rows + [_row(f"peaks.{fmt}", peak, "FLOP/s") for fmt, peak in device.peaks.items()]


def describe_links(cluster: Cluster) -> list[dict[str, Any]]:
    """The links a cluster uses, in the form of `describe`: rates and start-up times, with their origin."""
    used = [("link", cluster.link)] if cluster.link and min(cluster.node, cluster.count) > 1 else []
    used += [("nic", cluster.nic)] if cluster.nic and cluster.count > cluster.node else []
    fields = {"bandwidth": "B/s", "hop": "s", "all_reduce": "s", "dispatch": "s", "combine": "s"}
    return [_row(f"{name}.{key}", getattr(link, key), unit) for name, link in used for key, unit in fields.items()]
