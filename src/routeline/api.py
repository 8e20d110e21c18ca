"""The commands as functions of names: what `routeline NAME ...` prints, `routeline.NAME(...)` returns.

Loaded when one of them is first used. Scenario fields are keywords, as in `routeline.ask`; where an answer is asked
about, a finished Comparison may stand in place of its model, devices and fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import resolve
from .arch import Model
from .compare import Comparison
from .errors import RoutelineError
from .hardware import Cluster


def _answer(asked: Comparison | str | Model, devices: str | Cluster | None, given: Mapping[str, Any]) -> Comparison:
    if isinstance(asked, Comparison):
        if devices is not None or given:
            raise RoutelineError("a finished comparison has its devices and scenario; ask again to change them")
        return asked
    if devices is None:
        raise RoutelineError("no devices given; name a cluster, e.g. '8xH200'")
    return resolve.ask(asked, devices, **given)


def sweep(space: Any, **options: Any) -> Any:
    """A whole design space (routeline.sweep.run.sweep): axes as a mapping, a Space or a TOML path."""
    from .sweep.run import sweep as run

    return run(space, **options)


def sensitivity(model: str | Model, devices: str | Cluster, **options: Any) -> Any:
    """What R hangs on (routeline.sweep.sensitivity.sensitivity)."""
    from .sweep.sensitivity import sensitivity as analyse

    return analyse(model, devices, **options)


def predict(rows: str | Mapping[str, Any], *, out: str | None = None, calibration: Any = None) -> dict[str, list[Any]]:
    """Deployments -> time per output token, time to first token, throughput; rows: a CSV path or columns by name.

    A column of yours that is named as an output comes back as input_NAME.
    calibration: a file of `routeline calibrate --from`, or what it holds.

    Raises:
        RoutelineError: missing columns or an unreadable file. A row without an answer has a `reason` instead.
    """
    from .serving import predict as serving

    if isinstance(rows, str):
        return serving.predict_file(rows, out, calibration)
    found = serving.predict(rows, calibration=_calibration(calibration))
    if out is not None:
        serving.write_rows(out, found)
    return found


def _calibration(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    from .serving import personal

    return personal.load(given)


def validate(**options: Any) -> dict[str, Any]:
    """Errors on measured serving rows, every model family left out in turn; needs the extra [silicon]."""
    from .serving.validate import run

    found = run(**options)
    found.pop("rows_detail", None)
    return found


def evidence(model: str | Model, **given: Any) -> Any:
    """What is known of a model's q (a routeline.quality.QEvidence)."""
    return resolve.q_of(resolve.model(model), resolve.scenario(given))


quality = evidence


def odds(asked: Comparison | str | Model, devices: str | Cluster | None = None, **given: Any) -> Any:
    """How sure the verdict is over the distribution of q; None where q is a fact."""
    from .odds import odds as chances

    return chances(_answer(asked, devices, given))


def explain(asked: Comparison | str | Model, key: str, devices: str | Cluster | None = None, **given: Any) -> Any:
    """One number of an answer traced to its formula: explain(answer, "moe.step_time_s")."""
    from .explain import explain as why

    return why(_answer(asked, devices, given), key)


def fit(
    model: str | Model, devices: str | Cluster, *,
    contexts: Sequence[float | str] = ("4k", "8k", "16k", "32k", "64k", "128k"),
    batches: Sequence[float | str] = (1, 8, 32, 128), **given: Any,
) -> Any:  # fmt: skip
    """Largest batch for each context, longest context for each batch, under every layout (a routeline.plan.Fit)."""
    from .plan import fit as plan
    from .units import parse

    def each(values: Sequence[float | str], dimension: str, what: str) -> tuple[float, ...]:
        return tuple(parse(v, dimension, what) if isinstance(v, str) else float(v) for v in values)

    return plan(
        resolve.model(model), resolve.cluster(devices), resolve.scenario(given),
        contexts=each(contexts, "tokens", "contexts"), batches=each(batches, "count", "batches"),
    )  # fmt: skip


def reproduce(which: Sequence[str] = "abcd") -> dict[str, Any]:
    """The claims of arXiv:2603.08960's abstract recomputed: reproduce("a"), reproduce(["a", "c"]), or all four."""
    from .reproduce import reproduce as again

    return again(which)


def cite(asked: Comparison | str | Model, devices: str | Cluster | None = None, **given: Any) -> Any:
    """References of exactly what an answer used (tuple of Citation, each with .bibtex)."""
    from .answer.citations import citations

    return citations(_answer(asked, devices, given))


def diff(before: Any, after: Any) -> Any:
    """Two saved questions (TOML paths or scenario_file.Saved): what changed and what it did."""
    from .diff import diff as difference
    from .scenario_file import load

    return difference(*(load(x) if isinstance(x, str) else x for x in (before, after)))


def break_evens(asked: Comparison | str | Model, devices: str | Cluster | None = None, **given: Any) -> Any:
    """Where the verdict turns, by variable; `which` names some of them."""
    from .breakeven import break_evens as solve

    which = given.pop("which", None)
    return solve(_answer(asked, devices, given), which)


__all__ = [
    "break_evens", "cite", "diff", "evidence", "explain", "fit", "odds", "predict", "quality", "reproduce",
    "sensitivity", "sweep", "validate",
]  # fmt: skip
