"""Devices, links and clusters: numbers with their origin. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .errors import RoutelineError

KINDS = ("datasheet", "published", "measured", "fitted", "derived", "guess", "given")
"""How a number was obtained. `guess` is recall or copied from a sibling; `given` is the user's."""

WIDER = {"fp4": ("fp8", "bf16"), "int4": ("bf16",), "int8": ("bf16",), "fp8": ("bf16",), "bf16": ()}
"""Compute formats to fall back to, next wider first, when a device has no peak for one."""


class Sourced(float):
    """A float that knows its origin. Arithmetic returns a plain float: derived is not sourced."""

    kind: str
    source: str

    def __new__(cls, value: float, kind: str, source: str) -> Sourced:
        self = super().__new__(cls, value)
        self.kind, self.source = kind, source
        return self

    def __getnewargs__(self) -> tuple[float, str, str]:  # type: ignore[override]
        return float(self), self.kind, self.source


class SourcedCount(int):
    """A whole number that knows its origin (devices in a link domain)."""

    kind: str
    source: str

    def __new__(cls, value: int, kind: str, source: str) -> SourcedCount:
        self = super().__new__(cls, value)
        self.kind, self.source = kind, source
        return self

    def __getnewargs__(self) -> tuple[int, str, str]:  # type: ignore[override]
        return int(self), self.kind, self.source


TOPOLOGIES = ("switch", "mesh", "torus", "host", "network", "irregular", "none")
"""How the devices of a domain are joined: every pair at full rate through a switch; a direct link per
pair (mesh); neighbours only (torus); PCIe cards of one server (host); a data-centre network."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """One class of connection: a rate per device and direction, and the start-up times of collectives.

    `hop` is a floor (tier `ideal`); `all_reduce`, `dispatch` and `combine` are typical start-up
    times (a prior for `calibrated`). `peers` is how many other devices the full rate is spread over.
    """

    name: str
    bandwidth: float = field(metadata={"unit": "B/s"})
    topology: str = "switch"
    peers: int = 1
    hop: float = field(metadata={"unit": "s"})
    all_reduce: float = field(metadata={"unit": "s"})
    dispatch: float = field(metadata={"unit": "s"})
    combine: float = field(metadata={"unit": "s"})

    def group_bandwidth(self, size: int) -> float:
        """Rate of one device inside a group of `size` [B/s].

        In a full mesh a group of n uses n - 1 of a device's direct links (4 of 8 MI300X: 3/7 of the
        rate); elsewhere the whole rate counts, which is optimistic on a torus.
        """
        if self.topology != "mesh" or size - 1 >= self.peers or size < 2:
            return self.bandwidth
        return float(self.bandwidth) * (size - 1) / self.peers


LARGEST = 1e30
"""No rate or memory of a device is above this, in SI units."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """One accelerator as software sees it. Compute is dense (never the sparse headline).

    `memory_usable` is what the driver reports; None where no reading is known.
    `peaks` maps a compute format (bf16, fp8, int8, fp4) to its dense rate; an absent format has no
    native rate. `link` and `nic` are per device and per direction; `domain` is the number of
    devices that reach each other over `link`.
    """

    name: str
    vendor: str = ""
    memory_marketed: float = field(metadata={"unit": "B"})
    memory_usable: float | None = field(default=None, metadata={"unit": "B"})
    bandwidth: float = field(metadata={"unit": "B/s"})
    peaks: Mapping[str, float] = field(default_factory=dict, metadata={"unit": "FLOP/s"})
    link: float | None = field(default=None, metadata={"unit": "B/s"})
    link_name: str = ""
    link_class: str = ""
    topology: str = "switch"
    domain: int = field(default=1, metadata={"unit": "devices"})
    nic: float | None = field(default=None, metadata={"unit": "B/s"})
    power: float | None = field(default=None, metadata={"unit": "W"})
    year: int | None = None
    notes: str = ""
    caution: str = ""
    """What every answer that uses the device must say, e.g. that software sees it as two devices."""
    url: str = ""
    footnote: bool = False
    """True for parts whose figures do not fit the model (SRAM-only machines): listed, not compared."""

    def __post_init__(self) -> None:
        for label in ("memory_marketed", "memory_usable", "bandwidth", "link", "nic", "power"):
            value = getattr(self, label)
            if value is not None and not 0 < value < LARGEST:
                raise RoutelineError(
                    f"device {self.name!r}: {label} must be positive and below {LARGEST:g} (SI units), not {value:g}"
                )
        for fmt, peak in self.peaks.items():
            if fmt not in WIDER:
                raise RoutelineError(f"device {self.name!r}: unknown compute format {fmt!r}; known: {', '.join(WIDER)}")
            if not 0 < peak < LARGEST:
                raise RoutelineError(
                    f"device {self.name!r}: {fmt} peak must be positive and below {LARGEST:g} (SI units), not {peak:g}"
                )
        if not self.peaks and not self.footnote:
            raise RoutelineError(f"device {self.name!r}: no dense peak is known; give one, e.g. bf16 = '312 TFLOP/s'")
        if not 1 <= self.domain <= 10**7:
            raise RoutelineError(f"device {self.name!r}: domain must be between 1 and 10,000,000, not {self.domain}")
        if self.topology not in TOPOLOGIES:
            known = ", ".join(TOPOLOGIES)
            raise RoutelineError(f"device {self.name!r}: unknown topology {self.topology!r}; known: {known}")

    def memory(self, basis: str) -> float:
        """Bytes per device [B] on the basis 'usable' (falls back to marketed) or 'marketed'."""
        if basis == "usable" and self.memory_usable is not None:
            return self.memory_usable
        return self.memory_marketed

    def compute_format(self, fmt: str) -> str | None:
        """The format weights in `fmt` are computed in: itself, else the next wider with a peak."""
        return next((f for f in (fmt, *WIDER[fmt]) if f in self.peaks), None)

    def but(self, **change: object) -> Device:
        """Copy that cannot pass for the catalogue's device."""
        return replace(self, **({"name": f"{self.name} (modified)"} | change))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """`count` equal devices in nodes of `node` devices that share the fast link.

    `link` joins the devices of a node and `nic` the nodes; devices.make_cluster fills them in, with a
    stated guess where the device's file leaves one open. `notes` says how a short form was read.
    """

    device: Device
    count: int
    node: int
    link: Link | None = None
    nic: Link | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 10**7:
            raise RoutelineError(f"device count must be between 1 and 10,000,000, not {self.count}")
        if not self.node >= 1:
            raise RoutelineError(f"devices per node must be at least 1, not {self.node}")

    @property
    def name(self) -> str:
        """The text that gives this cluster again: '8xH200 SXM', '2x8xH100 SXM'."""
        device = self.device.name
        if device[:1].isdigit() or device[:1] in ("x", "×", "*"):  # '8x x', not '8xx'; '2x 4090', not nodes of 4090
            device = f" {device}"
        if self.count > self.node and self.count % self.node == 0 and self.largest_node > 1:
            return f"{self.count // self.node}x{self.node}x{device}"
        return f"{self.count}x{device}"

    @property
    def largest_node(self) -> int:
        """Devices that one node of these can hold: those that its link joins; beyond it only whole nodes are built."""
        return max(self.node, int(self.device.domain) if self.link is None else int(self.link.peers) + 1)

    @property
    def link_bandwidth(self) -> float:
        """Rate of one device to the others of its node, per direction [B/s]; RoutelineError if none is known."""
        if self.link is not None:
            return self.link.group_bandwidth(min(self.node, self.count))
        if self.device.link is None:
            raise RoutelineError(f"no link between two {self.device.name} is known; use one device or state a link")
        return self.device.link

    @property
    def nic_bandwidth(self) -> float:
        """Rate of one device to other nodes, per direction [B/s]; RoutelineError if none is known."""
        known = self.nic.bandwidth if self.nic is not None else self.device.nic
        if known is None:
            raise RoutelineError(f"no network rate of {self.device.name} is known; build the cluster with make_cluster")
        return known
