"""`routeline devices`: accelerators, with a source for every value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ._options import command, json_option
from ._show import console, emit, table


@command(example="routeline devices H200")
@click.argument("name", required=False)
@json_option
def devices(name: str | None, as_json: bool) -> None:
    """List the accelerators, or show one (or a cluster such as 2x8xH100) with unit, kind and source of every value.

    NAME is a device of the list, a cluster or a TOML file of your own (docs/devices.md).
    """
    from .. import devices as known

    if name is not None:
        _one(name, as_json)
        return
    found = known.all_devices()
    if as_json:
        emit({"schema_version": 1, "devices": [{"name": d.name, "values": known.describe(d)} for d in found]})
    else:
        _list(found)


def _list(found: Sequence[Any]) -> None:
    from ..units import show

    def peak(device: Any, fmt: str) -> str:
        return f"{device.peaks[fmt] / 1e12:,.4g}" if fmt in device.peaks else "-"

    rows = [
        (
            d.name + (" *" if d.footnote else ""), show(d.memory_marketed, "B", 4),
            "-" if d.memory_usable is None else f"{d.memory_usable / 2**20:,.0f} MiB", show(d.bandwidth, "B/s", 3),
            peak(d, "bf16"), peak(d, "fp8"), "-" if d.link is None else f"{int(d.domain)} x {show(d.link, 'B/s', 3)}",
        )
        for d in found
    ]  # fmt: skip
    columns = ["device", "memory", "usable", "bandwidth", "bf16 TFLOP/s", "fp8 TFLOP/s", "link domain"]
    out = console()
    out.print(table(columns, rows))
    out.print(f"{len(rows)} devices, dense peaks only. * listed for reference, not compared.")
    out.print("`routeline devices NAME` shows kind and source of every value.")


def _one(name: str, as_json: bool) -> None:
    from .. import devices as known
    from ..units import show

    cluster = known.parse_devices(name) if name[:1].isdigit() else None
    device = cluster.device if cluster else known.load_device(name)
    rows = [*known.describe(device), *(known.describe_links(cluster) if cluster else ())]
    warnings = known.cluster_warnings(cluster) if cluster else known.device_warnings(device)
    if as_json:
        emit({"schema_version": 1, "name": cluster.name if cluster else device.name, "values": rows,
              "warnings": warnings, "notes": device.notes, "url": device.url})  # fmt: skip
        return
    out = console()
    out.print(cluster.name if cluster else device.name, style="bold")
    cells = [(r["name"], show(r["value"], r["unit"], 6), r["kind"], r["source"]) for r in rows]
    out.print(table(["value", "", "kind", "source"], cells, left=4))
    if device.notes:
        out.print(f"Note: {device.notes}")
    for text in warnings:
        out.print(f"Warning: {text}.", style="yellow")
