"""Every law under one roof: a name and a subject in, a `LawResult` with range and source out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import UnknownName
from .. import _data
from ..subject import Subject, check_convention
from . import clark, ling, ludziejewski, simple, study


@dataclass(frozen=True, kw_only=True)
class LawResult:
    """One law's answer for one subject.

    Args:
        name, title: which law.
        q: size multiplier [-]; None when the law gives no answer.
        q_range: q at the lower and upper end of the training tokens, when they are not known exactly.
        in_range: every input lies where the law was fitted.
        convention: how the dense model is matched.
        warning: what is out of range, or why there is no answer; "" when nothing is.
        source, equation, reference: where the law stands; reference is a key of the references.
        role: "law" or "study" (printed, never used for anything).
    """

    name: str
    title: str
    q: float | None
    q_range: tuple[float, float] | None = None
    in_range: bool
    convention: str
    warning: str
    source: str
    equation: str
    reference: str
    role: str

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "q": self.q,
            "q_range": list(self.q_range) if self.q_range else None,
            "in_range": self.in_range,
            "convention": self.convention,
            "warning": self.warning,
            "source": self.source,
            "role": self.role,
        }


def names(*, study: bool = True) -> tuple[str, ...]:
    """Known laws, those for study only included unless told otherwise."""
    return tuple(n for n, law in _data.document("laws.toml").items() if study or law["role"] != "study")


def spec(name: str) -> dict:
    """The law's data entry; a family name such as 'clark' means its first member."""
    laws = _data.document("laws.toml")
    key = str(name).strip().lower()
    key = {"clark": "clark-sbase", "kimi": "kimi-k2", "square-root": "sqrt"}.get(key, key)
    if key not in laws:
        raise UnknownName("law", name, laws, f"known: {', '.join(laws)}")
    return laws[key] | {"name": key}


def law(name: str, subject: Subject, convention: str = "equal-tokens") -> LawResult:
    """One law's q for one MoE.

    Outside its range a law warns, or answers nothing where it is known to be wrong there. Training
    tokens come from the subject, or from the shipped table when it does not state them.

    Raises:
        UnknownName: no such law or convention, with near names.
    """
    entry = spec(name)
    check_convention(convention)
    solver = _SOLVERS[entry["name"].split("-")[0]]

    def result(q, warning="", in_range=False, q_range=None):
        if q is not None:
            q = float(q) if math.isfinite(q) else None
        where = f", {entry['where']}" if entry["where"] else ""
        link = _data.document("references.toml")[entry["reference"]]["url"]
        return LawResult(
            name=entry["name"],
            title=entry["title"],
            q=q,
            q_range=q_range,
            in_range=in_range and q is not None,
            convention=convention,
            warning=warning,
            source=f"{entry['title']}{where} {link}".strip(),
            equation=entry["equation"],
            reference=entry["reference"],
            role=entry["role"],
        )

    if convention not in entry["conventions"]:
        return result(None, f"says nothing under {convention}; it is solved under {', '.join(entry['conventions'])}")
    return result(*solver(entry, subject, convention))


def all_laws(subject: Subject, convention: str = "equal-tokens") -> tuple[LawResult, ...]:
    """Every law's answer, in the order of the data file."""
    return tuple(law(n, subject, convention) for n in names())


# Each solver returns (q or None, warning, in_range[, q_range]).


def _outside(limits: dict, **values) -> list[str]:
    """One phrase per value outside its limits."""
    phrases = []
    for label, (value, shown) in values.items():
        low, high = limits[label]
        span = f"outside {low:.3g}..{high:.3g}" if high > low else f"not the {low:.3g} of the fit"
        if value < low * (1 - 1e-9) or value > high * (1 + 1e-9):
            phrases.append(f"{shown} {value:.3g} is {span}")
    return phrases


def _verdict(phrases: list[str], note: str = "") -> tuple[str, bool]:
    text = "; ".join(phrases)
    return (f"extrapolated: {text}" + (f" ({note})" if note else ""), False) if phrases else ("", True)


def _tokens(subject: Subject) -> tuple[float, float]:
    if subject.train_tokens is not None:
        return subject.train_tokens
    from ..training import train_tokens

    found = train_tokens(subject.name)
    return found.low, found.high


def _over_tokens(f, subject: Subject):
    """(q at the geometric middle of the tokens, (q at low, q at high) or None, middle)."""
    low, high = _tokens(subject)
    middle = math.sqrt(low * high)
    ends = tuple(float(f(t)) for t in (low, high)) if high > low * 1.0001 else None
    if ends is not None and not all(math.isfinite(e) for e in ends):
        ends = None
    return float(f(middle)), ends, middle


def _ratio(subject: Subject) -> float:
    return 1.0 / subject.activation if subject.activation else subject.total / subject.active


def _clark(entry, subject, convention):
    ratio = _ratio(subject)
    low, high = _tokens(subject)
    phrases = _outside(
        entry["range"],
        active=(subject.active, "active size"),
        ratio=(ratio, "expert ratio"),
        top_k=(subject.top_k or 1.0, "top_k"),
        tokens=(math.sqrt(low * high), "training tokens"),
    )
    return (clark.q(subject.active, ratio, entry["coefficients"]), *_verdict(phrases, "lower bound"))


def _ludziejewski(entry, subject, convention):
    k, a, t = entry["coefficients"], subject.active, subject.total
    forms = {
        "equal-tokens": lambda d: ludziejewski.q_equal_tokens(a, t, d, k),
        "equal-flop": lambda d: ludziejewski.q_equal_flop(a, t, d, k),
        "compute-optimal": lambda d: ludziejewski.q_compute_optimal(a, t, d, k)[0],
    }
    q, ends, tokens = _over_tokens(forms[convention], subject)
    phrases = _outside(
        entry["range"],
        active=(a, "active size"),
        total=(t, "total size"),
        ratio=(t / a, "total/active"),
        tokens=(tokens, "training tokens"),
    )
    if not math.isfinite(q):
        return None, "no dense model reaches the MoE's loss with the same training FLOP under this law", False
    return (q, *_verdict(phrases, "low for fine-grained MoE"), ends)


def _ling(entry, subject, convention):
    if subject.activation is None or subject.granularity is None:
        return None, "needs experts, top_k, d_model and d_expert, which are not all known", False
    k, limits = entry["coefficients"], entry["range"]

    def q(tokens):
        given = (subject.activation, subject.granularity, 6.0 * subject.active * tokens)
        el = ling.leverage(*ling.clip(*given, limits), k)
        return el if convention == "equal-tokens" else math.sqrt(el)

    value, ends, tokens = _over_tokens(q, subject)
    phrases = _outside(
        limits,
        activation=(subject.activation, "activated expert fraction"),
        granularity=(subject.granularity, "granularity"),
        compute=(6.0 * subject.active * tokens, "training FLOP"),
        total=(subject.total, "total size"),
    )
    return (value, *_verdict(phrases, "inputs set to the edge of the fitted range"), ends)


def _kimi(entry, subject, convention):
    if not (subject.experts and subject.top_k):
        return None, "needs experts and top_k, which are not known", False
    sparsity = subject.experts / subject.top_k
    leverage = simple.kimi_leverage(sparsity, entry["coefficients"])
    phrases = _outside(entry["range"], sparsity=(sparsity, "experts over top_k"))
    phrases.append("the step from experts/top_k = 8 down to a dense model was not measured")
    return (leverage if convention == "equal-tokens" else math.sqrt(leverage), *_verdict(phrases))


def _power(entry, subject, convention):
    if not entry["range"]:
        return simple.power(subject.sparsity, entry["coefficients"]["kappa"]), "no fit stands behind this rule", False
    phrases = _outside(entry["range"], sparsity_fraction=(subject.sparsity, "s"))
    return (simple.power(subject.sparsity, entry["coefficients"]["kappa"]), *_verdict(phrases))


def _krajewski(entry, subject, convention):
    if subject.experts != 64 or not subject.granularity:
        return None, "fitted at 64 experts only: no answer for other shapes", False
    g, k = subject.granularity * 2.0, entry["coefficients"]  # its G is d_ff/d_expert with d_ff = 4 d_model
    q, ends, tokens = _over_tokens(
        lambda d: study.krajewski_q(subject.active, subject.total, d, g, k),
        subject,
    )
    phrases = _outside(
        entry["range"],
        total=(subject.total, "total size"),
        tokens=(tokens, "training tokens"),
        granularity_ff=(g, "granularity"),
    )
    if phrases:
        return None, f"no answer outside its range: {'; '.join(phrases)}", False
    return q, "", True, ends


def _abnar(entry, subject, convention):
    phrases = _outside(
        entry["range"], total=(subject.total, "total size"), inactive=(1.0 - subject.sparsity, "inactive fraction")
    )
    if phrases:
        return None, f"no answer outside its range, where it is not physical: {'; '.join(phrases)}", False
    q, ends, _ = _over_tokens(lambda d: study.abnar_q(subject.active, subject.total, d, entry["coefficients"]), subject)
    return q, "", True, ends


_SOLVERS = {
    "clark": _clark,
    "ludziejewski": _ludziejewski,
    "ling": _ling,
    "kimi": _kimi,
    "sqrt": _power,
    "power": _power,
    "krajewski": _krajewski,
    "abnar": _abnar,
}
