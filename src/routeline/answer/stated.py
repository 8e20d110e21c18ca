"""What an answer rests on, as it was resolved: the tier with its error, q of a dense model, request lengths used."""

from __future__ import annotations

import math
from dataclasses import replace

from ..compare import Assumption, Comparison, split_layouts
from ..fair import lead_ratio
from .extras import Extras


def tier_errors(answer: Comparison) -> dict[str, float]:
    """Mean relative errors of time per token on models the tier was not fitted on [-]: over all measured rows, and over
    those of this device, of this engine and of each side's family where they were measured. Empty for a bound."""
    if answer.ground.efficiency.kernels is None:
        return {}
    from ..serving.classes import engine
    from ..serving.constants import fitted, priors
    from ..serving.silicon import family
    from ..serving.tier import has_constants

    found = (fitted() or {}).get("residual", {})
    by = found.get("by", {})
    names = {"device": [answer.cluster.device.name], "engine": [engine(answer.scenario.engine)],
             "family": [family(m.name) for m in (answer.model, answer.opponent)]}  # fmt: skip
    own = {n: by[key][n] for key, of in names.items() for n in of if n in by.get(key, {})}
    if not has_constants(answer.cluster.device):
        own["published rows of other devices"] = priors()["published"]["throughput_mape"]
    return {"all": found["held_out_tpot_mape"]} | own if "held_out_tpot_mape" in found else {}


def tier_error(answer: Comparison) -> float | None:
    """The largest of `tier_errors`: what to expect here, on the safe side [-]; None for a bound."""
    return max(tier_errors(answer).values(), default=None)


def tier_words(answer: Comparison) -> str:
    """'tier ideal, a bound' or 'tier calibrated, about 14% mean error a side'."""
    name, error = answer.ground.efficiency.name, tier_error(answer)
    if error is None:
        return f"tier {name}"
    from ..serving.tier import has_constants

    least = "about" if has_constants(answer.cluster.device) else "unmeasured devices: at least"
    return f"tier {name}, {least} {error:.0%} mean error a side"


def _errors(answer: Comparison) -> str:
    """'all 12%, H200 SXM 17%'."""
    return ", ".join(f"{name} {error:.0%}" for name, error in tier_errors(answer).items())


def within_error(answer: Comparison, ratio: float | None) -> bool:
    """Whether R is closer to 1 than two independent errors of the tier: |ln R| < sqrt(2) * error."""
    error = tier_error(answer)
    return error is not None and ratio is not None and abs(math.log(ratio)) < math.sqrt(2.0) * error


def own_match(answer: Comparison) -> bool:
    """Whether the model is dense and nobody stated q: it is compared with itself."""
    e, asked = answer.q_evidence, answer.scenario
    return e is not None and e.subject.sparsity >= 1.0 and asked.q is None and asked.q_law is None


SKEW = (
    "tier calibrated: experts touched as fitted on measured models, fewer than independent tokens would touch; "
    "zipf:0 is uniform to the letter"
)


def skewed(answer: Comparison) -> bool:
    """Whether uniform routing was read as the fitted skew of real routers (measured.draws)."""
    experts = any(x.counted.moe_layers for x in (answer.moe, answer.dense))
    return experts and answer.ground.efficiency.kernels is not None and answer.ground.routing.name == "uniform"


OWN = "dense: its own match"


def q_source(answer: Comparison) -> str:
    return OWN if own_match(answer) else answer.q_source


def assumptions(answer: Comparison, known: Extras | None = None) -> tuple[Assumption, ...]:
    """The answer's assumptions with what `auto` and missing values became.

    The tier is the one used, with its error; the length of a request that was given by half is the one used.
    """
    shape = known.request.shape if known is not None and not known.illustrated else None
    if shape is None and "request" in answer.ratios:
        shape = answer.ratios["request"].detail.shape
    out: list[Assumption] = []
    for a in answer.assumptions:
        if a.name == "tier":
            meaning = answer.ground.efficiency
            out.append(
                replace(a, value=meaning.name, source=f"{a.source}; {meaning.source}" if a.default else a.source)
            )
            error = tier_error(answer)
            if error is not None:
                out.append(
                    Assumption(name="tier_error", value=error, unit="-", kind="fitted",
                               source=f"largest mean error of TPOT, each family left out of the fit: {_errors(answer)}")
                )  # fmt: skip
        elif a.name == "q" and own_match(answer):
            out.append(replace(a, kind="derived", source=OWN))
        elif a.name == "routing" and skewed(answer):
            out.append(replace(a, source=f"{a.source}; {SKEW}"))
        elif shape is not None and a.name in shape.assumed:
            basis = "1,024 tokens, a guess" if a.name == "output" else "the context"
            used = float(getattr(shape, a.name))
            out.append(replace(a, value=used, kind="guess", source=f"not given: {basis}"))
        else:
            out.append(a)
    return tuple(out)


def extrapolated(answer: Comparison) -> list[str]:
    """Layouts of a calibrated answer that no measured deployment uses (context or pipeline parallel)."""
    pair = answer.ratios[lead_ratio(answer)]
    return split_layouts(answer.ground, (pair.moe or answer.moe.point, pair.dense or answer.dense.point))
