"""References of exactly the data, laws and specifications that an answer used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..compare import Comparison

CALIBRATION = "aiconfigurator-core 0.12.0 (PyPI, Apache-2.0) https://pypi.org/project/aiconfigurator-core/0.12.0/"
"""The package whose kernel tables and served points stand behind the constants of the tier calibrated."""
HARDWARE = ("device.", "link.", "nic.")


@dataclass(frozen=True, kw_only=True)
class Citation:
    """One source: key, what it was used for, the source in words, a link where known, and BibTeX."""

    key: str
    used_for: str
    source: str
    url: str
    bibtex: str


def citations(answer: Comparison) -> tuple[Citation, ...]:
    """Sources of one answer: the question, the configs, the devices' values used, the tier, the evidence on q."""
    uses: dict[str, list[str]] = {}
    for model in (answer.model, answer.opponent):
        if model.source and model.architecture != "matched dense":
            uses.setdefault(model.source, []).append(f"config of {model.name}")
    for a in answer.assumptions:
        if a.name.startswith(HARDWARE) and a.source and a.kind not in ("default", "given"):
            uses.setdefault(a.source, []).append(f"{a.name} of {answer.cluster.device.name} ({a.kind})")
    tier = answer.ground.efficiency
    if tier.name == "calibrated" and tier.source:
        uses.setdefault(CALIBRATION, []).append("tier calibrated: measured kernels and served points")
    own = [_own(source, "; ".join(dict.fromkeys(what)), answer) for source, what in uses.items()]
    published = [
        Citation(key=r.key, used_for=r.used_for, source=_title(r.bibtex), url=r.url, bibtex=r.bibtex)
        for r in _references(answer)
    ]
    return (*published, *own)


def _references(answer: Comparison) -> tuple[Any, ...]:
    from ..quality import cite, reference

    if answer.q_evidence is None:
        return (reference("qs2026", "the qs inequality"),)
    return cite(answer.q_evidence, laws=False)


def _own(source: str, used_for: str, answer: Comparison) -> Citation:
    link = re.search(r"https?://\S+[^\s.,;)]", source)
    url = link[0] if link else (answer.cluster.device.url if used_for.startswith("device.") else "")
    key = "-".join(re.findall(r"[a-z0-9]+", source.lower())[:5])
    fields = [f"title={{{source}}}", *([f"url={{{url}}}"] if url else []), f"note={{{used_for}}}"]
    return Citation(
        key=key, used_for=used_for, source=source, url=url, bibtex=f"@misc{{{key}, {', '.join(fields)}}}"
    )  # fmt: skip


def _title(bibtex: str) -> str:
    found = re.search(r"title=\{(.+?)\}(?:,|\})", bibtex)
    return found[1] if found else ""
