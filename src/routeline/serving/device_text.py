"""The device that a row names, as tables, drivers and clouds write it -> a catalogue device and what was read.

Counts, vendors, form factors and memory sizes are set aside only where the rest still names one device, and a
memory size that differs from the catalogue's is kept (a MacBook of 36 GB). What could be another device is refused.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ..errors import RoutelineError
from ..hardware import Device

_COUNT = re.compile(
    r"^\s*\(?(\d{1,4})\s*[x×*]\s*|\s*(?<![a-z])[x×*]\s*(\d{1,3})\)?\s*$|^\s*(dual|quad|\d{1,3}(?=\s+[a-z]))\s+", re.I
)
_VENDOR = re.compile(
    r"\b(nvidia|amd|ati|instinct|intel|apple|google|aws|tesla|radeon|geforce|quadro|habana|huawei|gpus?|accelerators?|"
    r"cards?|generation|oam|hbm\d?e?|gddr\dx?|lpddr\dx?|sxm\d?|nvlink|hgx|dgx|edition|graphics|gfx\d+\w*|silicon|cloud|chips?|single|"
    r"mac|studio|macbook|mini|imac|air|\d\d-inch|laptop computer|unified|memory|vram|npu|hpu|"
    r"hl-?\d+\w*|dev(eloper)?|kit|module|devkit)\b",
    re.I,
)
_SIZE = re.compile(r"\b(\d+(?:\.\d+)?)\s*(?:gb|gib|g)\b", re.I)
_APPLE = re.compile(r"\bm([1-9])(?:\s*(pro|max|ultra))?\b(?!\d)", re.I)
_CORES = re.compile(r"(\d+)[\s-]*(?:gpu[\s-]*cores?|cores?[\s-]*gpu|gpu\b|c\b)|(\d+)[\s-]*cores?", re.I)
_TPU = re.compile(r"\b(?:tpu\s*)?v([2-7])\s*([epx]|lite|litepod)?(?:\s*-\s*(\d+))?\b", re.I)
_OTHER = re.compile(r"\b(laptop|mobile|max-?q mobile|vgpu|mig|cpu|epyc|xeon|threadripper|core i\d|ultra \d)\b", re.I)
SAME = {"a10040gbpcie": "A100 40GB SXM", "a100pcie40gb": "A100 40GB SXM", "a800": "A100 80GB SXM",
        "a80080gb": "A100 80GB SXM", "a80080gbpcie": "A100 80GB PCIe", "a800pcie80gb": "A100 80GB PCIe",
        **dict.fromkeys(("rtxpro6000", "rtxpro6000blackwell", "rtx6000pro", "rtx6000problackwell", "rtx6000blackwell"),
                        "RTX PRO 6000 Workstation"),
        "mi300": "MI300X", "mi300a": "", "mi308x": ""}  # fmt: skip
"""Folded name -> catalogue device with the same memory and rates (only its link differs); '' is another device."""
_GRACE = {"96": "96GB", "120": "96GB", "480": "96GB", "144": "144GB", "141": "144GB", "624": "144GB"}
"""GH200 by HBM or by the LPDDR beside it [GB] -> catalogue name."""


def fold(text: str) -> str:
    return re.sub(r"[^a-z0-9+]+", "", text.lower())


def count(text: str) -> int:
    """How many devices the text says itself ('8x H100', 'H100 x8', 'TPU v5e-8'), or 0."""
    found = _COUNT.search(text)
    if found:
        return {"dual": 2, "quad": 4}.get(word := next(g for g in found.groups() if g).lower()) or int(word)
    pod = _TPU.search(text) if "tpu" in text.lower() or re.match(r"\s*v\d", text, re.I) else None
    if pod and pod[3]:
        return max(int(pod[3]) // (2 if (pod[2] or "").lower() in ("", "p") else 1), 1)
    return 0


@lru_cache(maxsize=512)
def read(text: str) -> tuple[Device, str]:
    """(device, what was read into the text or '').

    Raises:
        RoutelineError: no such device, with the nearest names.
    """
    from ..device_catalog import load_device, load_noted

    plain = text.strip()
    try:
        dev, notes = load_noted(plain)
        return dev, notes[0] if notes else ""
    except RoutelineError as error:
        first = error
    if plain.lower().endswith(".toml"):
        raise first
    bare = _COUNT.sub("", plain)
    if _OTHER.search(bare) and "ryzen ai" not in bare.lower():
        raise first
    special = _apple(bare) or _grace(bare) or _tpu(bare)
    for name in (special,) if special else _trials(bare):
        key = fold(name)
        if key in SAME:
            if not SAME[key]:
                raise first
            return load_device(SAME[key]), f"{text!r} is read as {SAME[key]}"
        try:
            dev, notes = load_noted(name)
        except RoutelineError as error:
            several = re.search(r" fits ([^,;]+),", str(error))
            if not several:
                continue
            dev, notes = load_device(several[1]), (f"{text!r} is read as {several[1]}",)
        return _sized(dev, bare, text, notes[0] if notes else "")
    raise first


def _trials(bare: str) -> list[str]:
    """The text with less and less around the name, from the most specific."""
    out: list[str] = []
    inside = re.findall(r"\(([^)]*)\)", bare)
    for base in (bare, re.sub(r"\([^)]*\)", " ", bare), *inside):
        spaced = re.sub(r"[-_/,()]+", " ", _VENDOR.sub(" ", base) if "-" in base else base)
        named = " ".join(_VENDOR.sub(" ", spaced).split())
        unsized = " ".join(_SIZE.sub(" ", named).split())
        shaped = " ".join(re.sub(r"\b(pcie\d?|sxm\d?|oam|nvl|x\d+)\b", " ", unsized, flags=re.I).split())
        out += [" ".join(spaced.split()), named, unsized, shaped]
    return list(dict.fromkeys(x for x in out if x))


def _sized(dev: Device, bare: str, text: str, note: str) -> tuple[Device, str]:
    """The device with the memory that the text states, where that differs by more than a sixth."""
    size = _SIZE.search(re.sub(r"[-_/,()]+", " ", bare))
    if size is None or dev.name.startswith("GH200"):
        return dev, note
    stated = float(size[1]) * 1e9
    if abs(stated / dev.memory_marketed - 1.0) <= 1 / 6:
        return dev, note
    return dev.but(memory_marketed=stated, memory_usable=None), f"{text!r} is read as {dev.name} with {size[1]} GB"


def _apple(bare: str) -> str:
    found = _APPLE.search(re.sub(r"[-_/(),]+", " ", bare))
    if not found or re.search(r"\bmi\d|\bk80|\bradeon|\bgeforce", bare, re.I):
        return ""
    chip = f"M{found[1]}" + (f" {found[2].title()}" if found[2] else "")
    if re.search(r"\d+p\s*\+\s*\d+e", bare, re.I) and "gpu" not in bare.lower():
        return ""
    cores = _CORES.search(re.sub(r"\d+p\s*\+\s*\d+e\s*\+?", " ", bare, flags=re.I))
    many = int(next(g for g in cores.groups() if g)) if cores else 0
    options = {"M1 Max": (24, 32), "M2 Max": (30, 38), "M3 Max": (30, 40), "M4 Max": (32, 40)}.get(chip)
    if not options:
        return chip
    near = min(options, key=lambda n: abs(n - many)) if many else max(options)
    return f"M4 Max {near}-core " + {32: "36GB", 40: "128GB"}[near] if chip == "M4 Max" else f"{chip} {near}-core"


def _grace(bare: str) -> str:
    if "gh200" not in bare.lower():
        return ""
    size = _SIZE.search(bare)
    return "GH200 " + _GRACE.get(size[1] if size else "96", "96GB")


def _tpu(bare: str) -> str:
    found = _TPU.search(bare) if "tpu" in bare.lower() or re.match(r"\s*v\d[ep]?-\d", bare, re.I) else None
    if not found:
        return ""
    kind = {"lite": "e", "litepod": "e"}.get((found[2] or "").lower(), (found[2] or "").lower())
    return "TPU7x" if found[1] == "7" else f"TPU v{found[1]}{kind}"
