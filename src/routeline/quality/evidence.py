"""The answer: q of one MoE as a distribution, with every law and pair beside it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import RoutelineError
from . import _data, combine, pairs
from .conventions import convert
from .distribution import LogStudent, LogUniform, QDistribution, parse_q
from .laws import LawResult, all_laws, law
from .notes import notes_on
from .pairs import Pair
from .references import Reference, collect
from .subject import CONVENTIONS, Subject, canonical, check_convention, family_of, normal, subject_of
from .training import Tokens, parse_tokens, train_tokens


@dataclass(frozen=True, kw_only=True)
class QEvidence:
    """What is known of one MoE's q.

    Args:
        subject: the MoE, training tokens filled in.
        convention: how the dense model is matched.
        origin: "estimate", "stated" or "law NAME".
        distribution: q itself.
        laws: every law's answer under this convention.
        pairs: every row about this model, used or not.
        prediction: the statistics behind an estimate; None for a stated or law q.
        tokens: training tokens and where they are from.
        notes: what a reader must know, one sentence each.
        used: the rows that entered the estimate.
        base: the estimate at equal tokens, which the other conventions are carried from; None without one.
    """

    subject: Subject
    convention: str
    origin: str
    distribution: QDistribution
    laws: tuple[LawResult, ...]
    pairs: tuple[Pair, ...]
    prediction: combine.Prediction | None
    tokens: Tokens
    notes: tuple[str, ...]
    used: tuple[Pair, ...] = ()
    base: LogStudent | None = None

    @property
    def median(self) -> float:
        """q with even odds on either side [-]; infinite where no dense model matches."""
        return self.distribution.median

    @property
    def interval50(self) -> tuple[float, float]:
        """Central half [-]."""
        return self.distribution.interval50

    @property
    def interval90(self) -> tuple[float, float]:
        """Central nine tenths [-]."""
        return self.distribution.interval90

    @property
    def p_unreachable(self) -> float:
        """Probability that no dense model matches under this convention [-]."""
        return getattr(self.distribution, "p_unreachable", 0.0)

    @property
    def p_static(self) -> float:
        """P(qs < 1) [-]: nearly certain for every MoE at equal tokens, and settles nothing alone."""
        return float(self.distribution.p_below(1.0 / self.subject.sparsity))

    def conventions(self) -> dict[str, QDistribution]:
        """The same estimate under every matching convention; only its own for a stated or law q."""
        if self.base is None:
            return {self.convention: self.distribution}
        return {c: convert(self.subject, self.base, c) for c in CONVENTIONS}

    def quantile(self, p):
        """q below which the probability is p [-]."""
        return self.distribution.quantile(p)

    def cdf(self, q):
        """P(Q <= q) [-]."""
        return self.distribution.cdf(q)

    def p_below(self, threshold):
        """P(Q < threshold) [-], e.g. of the q at which a verdict flips."""
        return self.distribution.p_below(threshold)

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Draws of q [-]; infinite where no dense model matches."""
        return self.distribution.sample(n, seed)

    def references(self, *, laws: bool = True) -> tuple[Reference, ...]:
        """Sources of the rows and laws behind this answer; laws=False leaves out laws merely printed."""
        uses = [("qs2026", "the qs inequality")]
        if self.origin == "estimate":
            uses += [(p.source, "matched pairs") for p in self.used]
            uses.append(("tian2025", "prior of the saturation constant"))
            if self.convention != "equal-tokens":
                uses.append(("ludziejewski2025", "conversion between conventions"))
        uses += [(p.source, "matched pairs shown") for p in self.pairs if laws]
        named = self.origin.removeprefix("law ")
        uses += [(r.reference, f"law {r.name}") for r in self.laws if r.q is not None and (laws or r.name == named)]
        return collect(uses)

    def to_dict(self) -> dict:
        """The fields of `routeline quality --json`; a q no dense model reaches is None."""
        weights = self.prediction.weights if self.prediction else {}
        return {
            "model": self.subject.name,
            "s": self.subject.sparsity,
            "q": self.distribution.to_dict() | {"convention": self.convention, "origin": self.origin},
            "p_qs_below_1": self.p_static,
            "p_unreachable": self.p_unreachable,
            "conventions": [
                {"convention": c, "p_qs_below_1": float(d.p_below(1.0 / self.subject.sparsity))}
                | {"p_unreachable": getattr(d, "p_unreachable", 0.0), "q": d.to_dict()}
                for c, d in self.conventions().items()
            ],
            "laws": [r.to_dict() for r in self.laws],
            "pairs": [p.to_dict() for p in self.pairs],
            "weights": [{"model": m, "weight": w} for m, w in weights.items()],
            "train_tokens": self.tokens.to_dict(),
            "notes": list(self.notes),
        }


def tokens_of(subject: Subject, given=None) -> Tokens:
    """Training tokens: as given ('14.8T', '5T..15T', a number or two), the subject's own, or the table's."""
    if given is None and subject.train_tokens is None:
        return train_tokens(subject.name)
    if given is None and canonical(subject.name):
        listed = train_tokens(subject.name)
        if (listed.low, listed.high) == subject.train_tokens:
            return listed
    if given is None:
        low, high = subject.train_tokens or (0.0, 0.0)
    elif isinstance(given, (tuple, list)) and len(given) == 2:
        low, high = (float(v) for v in given)
    else:
        low, high = parse_tokens(f"{given:.17g}" if isinstance(given, (int, float)) else str(given))
    if not 0 < low <= high < math.inf:
        raise RoutelineError(
            f"training tokens {low:g}..{high:g} must be above zero, smaller end first; write e.g. 14.8T"
        )
    return Tokens(low=low, high=high, kind="stated", source="stated by the caller")


def _user_rows(user_pairs) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """(rows, warnings) from nothing, a path, or rows."""
    if user_pairs is None:
        return (), ()
    if isinstance(user_pairs, (str, os.PathLike)):
        from .ladder import read_user_file

        return read_user_file(user_pairs)
    return tuple(user_pairs), ()


def estimate(
    subject: Subject,
    *,
    convention: str = "equal-tokens",
    train_tokens=None,
    user_pairs=None,
    shipped_pairs: bool = True,
) -> QEvidence:
    """q of an MoE from the matched pairs, under a matching convention.

    Args:
        subject: the MoE; a name our table lists is enough to find its own pairs.
        convention: equal-tokens (what the pairs measure), equal-flop or compute-optimal (converted).
        train_tokens: '14.8T', '5T..15T', a number or a pair; default: the subject's, else the table's.
        user_pairs: path of a CSV or rows of `Pair`; they enter with the weight of class B.
        shipped_pairs: False estimates from the user's rows alone.

    Raises:
        RoutelineError: bad convention, tokens or pair file; no usable row at all.
    """
    check_convention(convention)
    tokens = tokens_of(subject, train_tokens)
    subject = replace(subject, train_tokens=(tokens.low, tokens.high))
    mine, warnings = _user_rows(user_pairs)
    mine = _as_listed(mine, subject)
    rows = pairs.usable((*(pairs.load() if shipped_pairs else ()), *mine))
    model = canonical(subject.name) or subject.name
    family = next((p.family for p in mine if p.model == model), None) or family_of(subject)
    found = combine.predict(subject.sparsity, model, family, rows)
    df = _data.document("estimate.toml")["model"]["df"]
    base = LogStudent(found.centre, found.sd, df)
    own = pairs.of(subject.name, mine)
    result = QEvidence(
        subject=subject,
        convention=convention,
        origin="estimate",
        distribution=convert(subject, base, convention),
        laws=all_laws(subject, convention),
        pairs=own,
        prediction=found,
        tokens=tokens,
        notes=(),
        used=rows,
        base=base,
    )
    return replace(result, notes=(*warnings, *notes_on(result)))


def _as_listed(rows: Sequence[Pair], subject: Subject) -> tuple[Pair, ...]:
    """User rows under the names the answer uses, so that they meet the subject and the shipped rows."""
    out = []
    for p in rows:
        listed = subject_of(p.model)
        if listed is not None:
            p = replace(p, model=listed.name, family=listed.family or p.family)  # noqa: PLW2901
        elif normal(p.model) == normal(subject.name):
            p = replace(p, model=subject.name)  # noqa: PLW2901
        out.append(p)
    return tuple(out)


def stated(subject: Subject, text, *, convention: str = "equal-tokens", train_tokens=None) -> QEvidence:
    """Evidence around a q the user states: '2' or '1.5..4'."""
    return _around(subject, parse_q(text), "stated", convention, train_tokens)


def from_law(name: str, subject: Subject, *, convention: str = "equal-tokens", train_tokens=None) -> QEvidence:
    """Evidence with one law's q: a point, or a range where the training tokens are one.

    Raises:
        RoutelineError: the law gives no answer here, with its reason.
    """
    tokens = tokens_of(subject, train_tokens)
    answer = law(name, replace(subject, train_tokens=(tokens.low, tokens.high)), convention)
    if answer.q is None:
        raise RoutelineError(f"law {answer.name} gives no q for {subject.name}: {answer.warning}")
    low, high = sorted(answer.q_range or (answer.q, answer.q))
    spread: QDistribution = LogUniform(low, high) if high > low * 1.001 else parse_q(repr(answer.q))
    found = _around(subject, spread, f"law {answer.name}", convention, train_tokens)
    return replace(found, notes=tuple(filter(None, (answer.warning, *found.notes))))


def _around(subject: Subject, spread: QDistribution, origin: str, convention: str, given) -> QEvidence:
    check_convention(convention)
    tokens = tokens_of(subject, given)
    subject = replace(subject, train_tokens=(tokens.low, tokens.high))
    result = QEvidence(
        subject=subject,
        convention=convention,
        origin=origin,
        distribution=spread,
        laws=all_laws(subject, convention),
        pairs=pairs.of(subject.name),
        prediction=None,
        tokens=tokens,
        notes=(),
    )
    return replace(result, notes=notes_on(result))


def evidence(
    subject: Subject,
    *,
    q=None,
    q_law: str | None = None,
    convention: str = "equal-tokens",
    train_tokens=None,
    user_pairs=None,
) -> QEvidence:
    """One door for commands: a stated q, a law's q, or by default the estimate.

    Raises:
        RoutelineError: both q and q_law given, or any bad value.
    """
    if q is not None and q_law is not None:
        raise RoutelineError("give q or a law, not both")
    if q is not None:
        return stated(subject, q, convention=convention, train_tokens=train_tokens)
    if q_law is not None:
        return from_law(q_law, subject, convention=convention, train_tokens=train_tokens)
    return estimate(subject, convention=convention, train_tokens=train_tokens, user_pairs=user_pairs)
