"""The four views: compare, verdict map, quality evidence, accuracy against silicon."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

from ..errors import RoutelineError, shorten
from ..units import show
from . import answers, state
from .parts import downloads, glossary, md, picture, refusal, table
from .state import Choice
from .view import View

ICON = Path(__file__).parent.parent / "data" / "favicon.png"

PICTURES = {
    "The two penalties": "waterfall",
    "Over context": "throughput",
    "Memory": "memory",
    "Time of a step": "step",
    "Speed per user": "interactivity",
    "Whole requests": "request",
    "Cluster size": "cluster",
    "Roofline": "roofline",
    "Fragmentation": "fragmentation",
    "Expert width": "width",
}


def asked() -> tuple[Choice, View | None]:
    """The visitor's choice and its answer; a refusal is shown and gives None."""
    choice: Choice = st.session_state["choice"]
    try:
        return choice, answers.view(choice, st.session_state.get("uploaded"), allow_hub=st.session_state["allow_hub"])
    except RoutelineError as error:
        refusal(error)
    return choice, None


def fault(error: Exception) -> None:
    """A fault of ours: said plainly to the visitor, one line for whoever runs the server, the session goes on."""
    import traceback

    place = traceback.extract_tb(error.__traceback__)[-1]
    print(f"fault: {type(error).__name__}: {shorten(error)} at {place.filename}:{place.lineno}", file=sys.stderr)
    refusal("this combination hit a fault in Routeline; change a setting, and please report the address above")


def headline(found: View) -> str:
    """The verdict in a few words, Markdown, equally loud whoever wins."""
    r = found.ratio
    rival = "The dense model" if found.matched else "The opponent"
    if found.verdict == "dense" and r is not None:
        return f":blue[{rival} wins: {r:.3g} times the tokens per second]"
    if found.verdict == "moe" and r is not None:
        return f":orange[The MoE wins: {1 / r:.3g} times the tokens per second]"
    return {
        "tie": "A tie: both serve the same within 2%",
        "moe_infeasible": f":blue[{rival} wins: the MoE does not fit]",
        "dense_infeasible": ":orange[The MoE wins: its opponent does not fit]",
    }.get(found.verdict, ":red[Neither model fits]")


def turned(found: View) -> list[str]:
    """One line for each other rule under which somebody else wins, as loud as the headline."""
    out = []
    names = {"equal_batch": "At the same batch", "tpot": "At the same time per token", "request": "Per whole request"}
    for name, lead in names.items():
        r = found.others.get(name)
        if r is None or found.verdict not in ("dense", "moe", "tie"):
            continue
        if r < 1 / 1.02 and found.verdict != "moe":
            out.append(f":orange[{lead} the MoE wins: {1 / r:.3g} times the tokens per second]")
        elif r > 1.02 and found.verdict != "dense":
            out.append(f":blue[{lead} the dense side wins: {r:.3g} times the tokens per second]")
    return out


def compare() -> None:
    """MoE or dense, on these devices?"""
    st.title("Mixture of experts or dense?", anchor=False)
    st.markdown(
        "Which serves more tokens per second on the same devices: a mixture-of-experts model, or a dense model of the "
        "same quality? Choose a model and devices in the sidebar; everything here follows."
    )
    glossary()
    choice, found = asked()
    if found is None:
        return
    with st.container(border=True):
        for text in (headline(found), *turned(found)):
            st.header(text, anchor=False)
        st.markdown(md(found.sentence))
        _metrics(found)
    for text in found.warnings[:6]:
        st.warning(md(text), icon=":material/warning:")
    st.subheader("The ratio under each rule", anchor=False)
    head = ("R = dense / MoE throughput", "R", "batch MoE / dense", "tokens/s MoE / dense", "why there is none")
    width = 5 if any(row[4] for row in found.ratios) else 4
    if found.ratios:
        table(head[:width], [row[:width] for row in found.ratios])
    picked = st.pills("Charts", list(PICTURES), default="The two penalties", key="picked", label_visibility="collapsed")
    picture(choice, PICTURES[picked or "The two penalties"])
    with st.expander("Every number", icon=":material/table:"):
        table(("", *found.labels), found.sides)
    with st.expander(f"Every assumption ({len(found.ledger[1])})", icon=":material/fact_check:"):
        table(*found.ledger)
    st.subheader("Take it with you", anchor=False)
    downloads(choice)
    st.caption("The address bar holds this exact scenario: copy it to share. The same on a command line:")
    st.code(found.command, language="sh", wrap_lines=True)


def _metrics(found: View) -> None:
    from ..answer.rows import number

    columns = st.columns(4)
    if found.reuse is not None and found.headroom is not None:
        columns[0].metric("reuse penalty", f"{found.reuse:.3g}×", help="MoE over dense step time, same batch.")
        columns[1].metric("headroom gain", f"{found.headroom:.3g}×", help="What the memory left over buys in batch.")
    for column, label, one in ((columns[2], "MoE", found.moe), (columns[3], "dense", found.dense)):
        if not one.fits:
            need = f"needs {one.needed} devices" if one.needed else "on no size tried"
            column.metric(label, "does not fit", need, delta_color="off", delta_arrow="off")
        else:
            text = f"batch {one.batch:,.0f}, {show(one.tpot, 's', 3)} per token"
            column.metric(f"{label}, tokens/s per device", number(one.rate), text, delta_color="off", delta_arrow="off")


def verdict_map() -> None:
    """R over two axes."""
    from ..plots.grid import AXES

    st.title("Where does which side win?", anchor=False)
    st.markdown("Blue: the dense model serves more. Orange: the MoE does. The black line is where neither wins.")
    choice, found = asked()
    if found is None:
        return
    names = {k: v.split(" [")[0].split(",")[0] for k, v in AXES.items()}
    left, right = st.columns(2)
    x = left.selectbox("across", list(AXES), index=0, key="map-x", format_func=lambda k: names[k])
    y = right.selectbox("up", [k for k in AXES if k != x], index=0, key="map-y", format_func=lambda k: names[k])
    picture(choice, "map", x=x, y=y)


def quality() -> None:
    """What is known of q, and what the answer makes of it."""
    st.title("What is known of q?", anchor=False)
    st.markdown(
        "The verdict rests on q: how large a dense model must be to match the MoE. It is evidence, not a setting. "
        "Laws and measured pairs disagree, so the answer is a distribution."
    )
    choice, found = asked()
    if found is None:
        return
    picture(choice, "q")
    picture(choice, "evidence")
    for text in found.notes:
        st.markdown(f"- {md(text)}")
    if found.laws:
        with st.expander("Every law", icon=":material/gavel:"):
            table(("law", "q", "in range", "what to know", "source"), found.laws)
    if found.pairs:
        with st.expander("Every matched pair about this model", icon=":material/balance:"):
            table(("benchmark", "dense models", "q", "class", "use", "note"), found.pairs)


def accuracy_view() -> None:
    """How far predictions are from measurements."""
    st.title("How accurate is this?", anchor=False)
    choice, found = asked()
    if found is not None:
        st.markdown(f"**This answer.** {md(found.accuracy)}")
    from . import measured

    measured.show(choice, silicon=st.session_state["silicon"])


def run(*, allow_hub: bool, silicon: bool = False) -> None:
    """Draw the page the visitor is on."""
    from .controls import sidebar

    st.set_page_config(page_title="Routeline: MoE or dense?", page_icon=str(ICON), layout="wide")
    page = st.navigation(
        [
            st.Page(compare, title="Compare", url_path="compare", default=True, icon=":material/compare_arrows:"),
            st.Page(verdict_map, title="Verdict map", url_path="map", icon=":material/map:"),
            st.Page(quality, title="Quality evidence", url_path="quality", icon=":material/school:"),
            st.Page(accuracy_view, title="Accuracy", url_path="accuracy", icon=":material/memory:"),
        ],
        position="top",
    )
    st.session_state["allow_hub"] = allow_hub
    st.session_state["silicon"] = silicon
    try:
        st.session_state["choice"] = sidebar(allow_hub=allow_hub)
        page.run()
    except Exception as error:
        fault(error)


__all__ = ["run", "state"]
