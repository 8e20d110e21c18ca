"""Pieces of the page that every view uses: inert text, pictures, tables, downloads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import streamlit as st

from ..plots import theme
from . import answers
from .night import GROUND, night
from .state import Choice
from .words import md, plainly, up

STYLE = """<style>
[data-testid="stMainBlockContainer"] { max-width: 62rem; }
[data-testid="stMainBlockContainer"] h2 { padding: .35rem 0 .5rem; }
[data-testid="stMetricValue"] { font-variant-numeric: tabular-nums; }
.stTooltipErrorHoverTarget .stFileChip { flex-wrap: wrap; height: auto; }
.stTooltipErrorHoverTarget .stFileChip > span { position: static; width: 100%; height: auto; clip: auto;
  overflow: visible; white-space: normal; font-size: .8rem; }
@media (max-width: 640px) {
  [data-testid="stExpandSidebarButton"] { width: auto; padding: 0 .6rem; }
  [data-testid="stExpandSidebarButton"]::after { content: "Settings and pages"; font-size: .9rem; margin-left: .3rem; }
  [data-testid="stColumn"]:has([data-testid="stMetric"]) { flex: 1 1 45%; min-width: 45%; }
  [data-testid="stMainBlockContainer"] :is(td, th) { padding: .3rem .35rem; font-size: .85rem; }
  [data-testid="stMainBlockContainer"] h1 { font-size: 1.55rem; }
  [data-testid="stMainBlockContainer"] h2 { font-size: 1.35rem; }
}
</style>"""
"""What Streamlit's options do not reach: the text width, why a file was refused, the way to the settings on a phone."""

FITTED = {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
"""A chart as wide as its place; its height stays that of the plot, legends come on top."""


def picture(choice: Choice, name: str, **options: str) -> None:
    """A chart with title, reading note, caption and a PNG to take away; a refusal is said instead."""
    uploaded = st.session_state.get("uploaded")
    made = answers.picture(choice, name, uploaded, **options)
    if "refusal" in made:
        st.info(md(up(plainly(made["refusal"]))), icon=":material/block:")
        return
    figure(made, name)
    st.download_button(
        "This chart as PNG",
        data=lambda: answers.file(f"png:{name}", choice, uploaded, **options),
        file_name=f"routeline-{name}.png",
        mime="image/png",
        key=f"png-{name}",
        on_click="ignore",
        icon=":material/download:",
        type="tertiary",
    )


FONT = "Source Sans, Source Sans Pro, sans-serif"
"""The page's own type, which Streamlit serves with it."""


def figure(made: dict[str, Any], name: str) -> None:
    """Title, reading note, panels and caption of a chart."""
    st.subheader(md(made["title"]), anchor=False)
    if made["note"]:
        st.markdown(md(made["note"]))
    specs, dark = made["specs"], st.context.theme.type == "dark"
    places: Sequence[Any] = st.columns(min(made["columns"], len(specs))) if made["columns"] > 1 else [st] * len(specs)
    for i, spec in enumerate(specs):
        sized = {k: v for k, v in spec.items() if k != "width"} | FITTED | {"config": theme.config(FONT)}
        shown = night(sized) | {"background": GROUND} if dark else sized
        place = places[i % len(places)]
        place.vega_lite_chart(spec=shown, width="stretch", theme=None, key=f"chart-{name}-{i}", alt=made["alt"])
    st.caption(md(made["caption"]))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A plain table; every cell is inert text."""
    lines = ["| " + " | ".join(md(h) or " " for h in head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(md(c) or " " for c in row) + " |" for row in rows]
    st.markdown("\n".join(lines))


GLOSSARY = """
**A mixture-of-experts model (MoE)** holds many expert networks and sends each token through a few of them. It is
cheap to compute with, but every expert must stay in memory, and the tokens of a batch spread thinly over experts.

**Its matched dense model** is a plain model of the same quality. It has *q* times the parameters that the MoE uses
per token. Nobody knows *q* exactly; the page *Quality evidence* shows what is published.

**s** is the share of its parameters the MoE uses per token. **qs < 1** means the dense model is smaller than what the
MoE keeps in memory. That holds for nearly every MoE at equal training tokens, so it settles nothing alone.

**R** is the dense model's throughput over the MoE's on the same devices. Above 1 the dense model serves more tokens
per second, below 1 the MoE does. R splits into two penalties: **reuse** (each fetched expert weight serves fewer
tokens) and **headroom** (the MoE's weights leave less memory for sequences).

**Tiers**: *calibrated* is fitted to measured kernels and serving points; the page *Accuracy* shows how well it
predicts. *Ideal* is the full roofline with communication and *bandwidth* counts bytes only: both are bounds.

The idea is that of [arXiv:2603.08960](https://arxiv.org/abs/2603.08960) ("The qs Inequality"); only its abstract is
known to us and every derivation is Routeline's own.
"""


def glossary() -> None:
    """What the words mean, for someone who never heard of them."""
    with st.expander("New here? What the words mean", icon=":material/help:"):
        st.markdown(GLOSSARY)


def refusal(text: object) -> None:
    """A refusal, in full, as loud as an answer."""
    st.error(md(up(plainly(str(text)))), icon=":material/error:")


def downloads(choice: Choice) -> None:
    """Report, CSV and JSON, each made when it is asked for."""
    uploaded = st.session_state.get("uploaded")
    kinds = (("Report (HTML)", "report", "text/html", "html"), ("CSV", "csv", "text/csv", "csv"),
             ("JSON", "json", "application/json", "json"))  # fmt: skip
    with st.container(horizontal=True):
        for label, kind, mime, ending in kinds:
            st.download_button(
                label,
                data=lambda kind=kind: answers.file(kind, choice, uploaded),
                file_name=f"routeline-{'report' if kind == 'report' else 'comparison'}.{ending}",
                mime=mime,
                key=f"get-{kind}",
                on_click="ignore",
                icon=":material/download:",
            )
