"""The accuracy view: what is shipped of the errors, and predictions against measurements where they were scored."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import streamlit as st

from .parts import figure, table
from .state import Choice
from .words import md

OPERATIONS = {
    "gemm": "matrix products",
    "moe": "routed experts",
    "gqa": "grouped-query attention, decode",
    "gqa_prefill": "grouped-query attention, prefill",
    "mla": "latent attention, decode",
    "mla_prefill": "latent attention, prefill",
    "all_reduce": "all-reduce",
    "all_to_all": "tokens to their experts and back",
}


@lru_cache(maxsize=1)
def shipped() -> tuple[dict[str, Any], dict[str, Any]]:
    """(serving, kernel) constants with their residuals, as calibration shipped them."""
    from ..serving import constants

    return constants.read("serving.json"), constants.read("kernels.json")


@lru_cache(maxsize=1)
def scored() -> str:
    """Charts of `routeline validate`, as text; computed once, at the start of a server given --silicon."""
    from ..plots import accuracy
    from ..serving import penalty, validate

    result = validate.run()
    made = [accuracy.predicted(result, "tpot"), accuracy.predicted(result, "ttft"), accuracy.penalty(penalty.run())]
    return json.dumps([
        {n: getattr(f, n) for n in ("title", "note", "caption", "alt", "columns")} | {"specs": f.panel_specs()}
        for f in made
    ])  # fmt: skip


def show(choice: Choice, *, silicon: bool) -> None:
    """Held-out errors of the calibrated tier, kernel by kernel, and the charts where they were scored."""
    serving, kernels = shipped()
    error = serving.get("residual") or {}
    mean, median = error.get("held_out_tpot_mape"), error.get("held_out_tpot_median")
    st.subheader("Time per output token, served", anchor=False)
    if mean is not None and median is not None:
        left, right, _ = st.columns(3)
        left.metric("mean error", f"{mean:.1%}")
        right.metric("median error", f"{median:.1%}")
    st.markdown(
        "Every model family is predicted by constants that were fitted without it. Measurements: "
        f"{md(str(serving.get('source', ''))[:300])}. Devices without measured kernels run on stated priors. "
        "The ideal and bandwidth tiers are bounds: measurements should be slower."
    )
    st.subheader("Kernels, on shapes held out of the fit", anchor=False)
    rows = []
    for name, value in kernels.get("medians", {}).items():
        mine = [t for t in kernels["tables"] if t["operation"] == name]
        passed = sum(bool(t["passes"]) for t in mine)
        rows.append((OPERATIONS.get(name, name.replace("_", " ")), f"{value:.1%}", len(mine), passed))
    table(("operation", "median error", "tables", "pass the screen"), rows)
    if not silicon:
        st.info(
            "Start the page with `routeline web --silicon` to score it on the measured rows themselves and see every "
            "prediction beside its measurement (needs the extra of that name, takes about a minute once).",
            icon=":material/info:",
        )
        return
    for i, made in enumerate(json.loads(scored())):
        figure(made, f"silicon-{i}")
