"""What a reader must know of an answer: disagreement, reach and silence, one sentence each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .combine import shipped
from .laws import spec
from .subject import canonical

if TYPE_CHECKING:
    from .evidence import QEvidence


def _odds(p: float) -> str:
    """A probability in words that do not claim certainty."""
    return "above 0.999" if p > 0.999 else "below 0.001" if p < 0.001 else f"{p:.3f}"


def notes_on(e: QEvidence) -> tuple[str, ...]:
    """Disagreements and limits, one sentence each."""
    out = []
    solved = [r for r in e.laws if r.q is not None and r.role == "law"]
    if len(solved) > 1:
        low, high = min(solved, key=lambda r: r.q or 0), max(solved, key=lambda r: r.q or 0)
        if low.q and high.q and high.q > 1.5 * low.q:
            out.append(
                f"the laws disagree by a factor {high.q / low.q:.1f} under {e.convention}: "
                f"{low.name} {low.q:.2f}, {high.name} {high.q:.2f}"
            )
    entering = [p for p in e.pairs if p.enters]
    if e.origin == "estimate":
        share = (e.prediction.weights if e.prediction else {}).get(canonical(e.subject.name) or e.subject.name, 0.0)
        if entering:
            out.append(f"{len(entering)} rows about this model itself carry {share:.0%} of the weight")
        elif e.pairs:
            out.append(f"none of the {len(e.pairs)} rows about this model may enter ({e.pairs[0].weight_reason})")
        else:
            out.append("no matched pair about this model is known: other models' pairs alone carry the estimate")
        if e.subject.sparsity < 0.02 or e.subject.sparsity > 0.35:
            out.append(
                f"s = {e.subject.sparsity:.3g} lies outside the 0.02..0.35 where the pairs are dense: extrapolated"
            )
        scatter = math.exp(shipped().benchmark)
        out.append(f"this is q over many benchmarks: on a single one it scatters by a further factor {scatter:.2f}")
    if e.tokens.kind == "guess":
        out.append(f"training tokens are {e.tokens.note}")
    if e.origin == "estimate":
        at = 1.0 / e.subject.sparsity
        said = [(c, float(d.p_below(at))) for c, d in e.conventions().items()]
        odds = [p for _, p in said]
        if e.subject.sparsity < 1 and min(odds) < 0.5 <= max(odds):
            shown = ", ".join(f"{_odds(p)} at {c}" for c, p in said)
            out.append(f"the conventions disagree on qs < 1: probability {shown}")
        if e.p_unreachable > 0.05:
            out.append(
                f"with probability {e.p_unreachable:.2g} no dense model reaches this quality with the same training "
                f"FLOP (dense side of {spec('ludziejewski')['title']}, extrapolated)"
            )
    out.append("qs < 1 is nearly certain for every MoE at equal tokens: it settles nothing alone")
    return tuple(out)
