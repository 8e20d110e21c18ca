"""q as evidence: published laws, matched pairs, and the distribution they leave.

    from routeline import quality
    e = quality.estimate(quality.Subject(name="DeepSeek-V3", active=37e9, total=671e9))
    e.median, e.interval90, e.p_below(7.9)

q is the size multiplier: the dense model that matches an MoE has q times its active parameters.
"""

from ..callable import named
from .combine import shipped as constants
from .distribution import Fixed, LogUniform, QDistribution, parse_q
from .evidence import QEvidence, estimate, evidence, from_law, stated
from .ladder import matched_size, read_user_file
from .laws import LawResult, all_laws, law
from .laws import names as law_names
from .pairs import Empirical, Pair, empirical, empirical_q
from .pairs import load as load_pairs
from .references import Reference, reference
from .subject import CONVENTIONS, Subject, subject_of
from .training import Tokens, train_tokens

__all__ = [
    "CONVENTIONS",
    "Empirical",
    "Fixed",
    "LawResult",
    "LogUniform",
    "Pair",
    "QDistribution",
    "QEvidence",
    "Reference",
    "Subject",
    "Tokens",
    "all_laws",
    "backtest",
    "cite",
    "constants",
    "empirical",
    "empirical_q",
    "estimate",
    "evidence",
    "from_law",
    "law",
    "law_names",
    "load_pairs",
    "matched_size",
    "parse_q",
    "read_user_file",
    "reference",
    "stated",
    "subject_of",
    "train_tokens",
]


def cite(answer: QEvidence, *, laws: bool = True) -> tuple[Reference, ...]:
    """References of exactly the laws and pairs an answer used; laws=False for the number alone."""
    return answer.references(laws=laws)


def backtest(**options):
    """The estimate and every law against held-out families; see `routeline.quality.backtest_table`. Needs SciPy."""
    from .backtest_table import run

    return run(**options)


named(__name__)
