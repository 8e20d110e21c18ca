"""Which efficiencies a tier stands for on a device: bounds are data of the core, `calibrated` is shipped data."""

from __future__ import annotations

from .errors import UnknownName
from .hardware import Device
from .scenario import TIERS, Efficiency

NAMES = ("auto", "calibrated", *TIERS)


def resolve(name: str, device: Device, layout: str = "auto") -> str:
    """'auto' -> calibrated where the device's class has measured kernels and the layout is a real one, else ideal.

    Raises:
        UnknownName: no such tier.
    """
    if name not in NAMES:
        raise UnknownName("tier", name, NAMES, f"known: {', '.join(NAMES)}")
    if name != "auto":
        return name
    from .serving.tier import has_constants

    return "calibrated" if layout.strip().lower() != "pooled" and has_constants(device) else "ideal"


def efficiency(name: str, device: Device, *, engine: str = "", layout: str = "auto") -> Efficiency:
    """The efficiencies of a tier on a device; engine '' is the mean of the measured engines.

    Raises:
        UnknownName: no such tier, or an engine whose kernels were not measured.
    """
    chosen = resolve(name, device, layout)
    if engine:
        from .serving.classes import MEASURED_ENGINES
        from .serving.classes import engine as canonical

        if canonical(engine) not in MEASURED_ENGINES:
            raise UnknownName("engine", engine, MEASURED_ENGINES, "vllm, sglang and trtllm are measured; leave it out for their mean")
    if chosen in TIERS:
        return TIERS[chosen]
    from .serving.tier import efficiency as calibrated

    return calibrated(device, engine)
