"""The four views: compare, verdict map, quality evidence, accuracy against silicon."""

from __future__ import annotations

import sys
import urllib.parse
from pathlib import Path

import streamlit as st

from ..answer.rows import number
from ..errors import RoutelineError, shorten
from ..plots.theme import digits
from ..units import show
from . import answers, state, words
from .parts import STYLE, downloads, glossary, picture, refusal, table
from .state import Choice
from .view import View
from .words import md

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
FIRST = "The two penalties"


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


def compare() -> None:
    """MoE or dense, on these devices?"""
    st.title("Mixture of experts or dense?", anchor=False)
    st.markdown(
        "Which serves more tokens per second on the same devices: a mixture-of-experts model, or a dense model of the "
        "same quality? Choose a model and devices in the settings; everything here follows."
    )
    glossary()
    choice, found = asked()
    if found is None:
        return
    _verdict(found)
    _warnings(found.warnings)
    if found.ratios[1]:
        st.subheader("Who serves more, rule by rule", anchor=False)
        table(*found.ratios)
    st.subheader("Why", anchor=False)
    first, key = (FIRST, "picked") if words.settled(found) else ("Memory", "picked-unfit")
    picked = st.pills("Charts", list(PICTURES), default=first, key=key, label_visibility="collapsed")
    picture(choice, PICTURES[picked or first])
    with st.expander("Every number", icon=":material/table:"):
        table(("", *found.labels), found.sides)
    with st.expander(f"Every assumption ({len(found.ledger[1])})", icon=":material/fact_check:"):
        table(*found.ledger)
    st.subheader("Take it with you", anchor=False)
    downloads(choice)
    _share(choice, found)


def _verdict(found: View) -> None:
    """Who wins, what was found, what is not established, and the numbers to look at first."""
    said, open_ = words.finding(found)
    with st.container(border=True):
        st.caption(md(found.setting))
        for text in (words.headline(found), *words.turned(found)):
            st.header(text, anchor=False)
        _metrics(found)
        st.markdown(md(said))
        if open_:
            st.caption(f"**Not established:** {md(open_)}")


def _metrics(found: View) -> None:
    columns = st.columns(4 if words.settled(found) else 2)
    if found.reuse is not None and found.headroom is not None:
        columns[0].metric("reuse penalty", f"{digits(found.reuse)}×", help="MoE over dense step time, same batch.")
        columns[1].metric(
            "headroom gain", f"{digits(found.headroom)}×", help="What the memory left over buys in batch, largest each."
        )
    for column, label, one in zip(columns[-2:], found.standing.names, (found.moe, found.dense), strict=True):
        if not one.fits:
            need = f"needs {one.needed:,} devices" if one.needed else "on no size tried"
            column.metric(md(label), "does not fit", need, delta_color="off", delta_arrow="off")
        else:
            column.metric(
                f"{md(label)}, tokens/s per device",
                number(one.rate),
                f"batch {one.batch:,.0f}, {show(one.tpot, 's', 3)}",
                delta_color="off",
                delta_arrow="off",
                help="Below: sequences decoded together, and time per output token of each.",
            )


def _warnings(texts: tuple[str, ...]) -> None:
    """All warnings in one box: what to keep in mind, after the answer."""
    if texts:
        said = [words.plainly(t) for t in texts[:6]]
        st.warning("\n".join(f"- {md(words.up(t))}" for t in said), icon=":material/warning:")


def _share(choice: Choice, found: View) -> None:
    """The scenario as a link and as a command line."""
    query = urllib.parse.urlencode(state.write(choice))
    here = urllib.parse.urlsplit(st.context.url or "")
    link = here._replace(path=here.path or "/", query=query, fragment="").geturl()
    note = " An uploaded model is not part of it." if choice.model == state.UPLOAD else ""
    st.caption(f"A link to exactly this scenario, as the address bar holds it:{note}")
    st.code(link, language=None, wrap_lines=True)
    st.caption("The same on a command line:")
    st.code(found.command, language="sh", wrap_lines=True)


def verdict_map() -> None:
    """R over two axes."""
    from ..plots.grid import AXES

    st.title("Where does which side win?", anchor=False)
    choice, found = asked()
    if found is None:
        return
    who = {k: md(v) for k, v in words.subjects(found).items()}
    st.markdown(
        f":blue[Blue]: {who['dense']} serves more tokens per second. :orange[Orange]: {who['moe']} does. On the black "
        "line neither leads; hatched, memory does not suffice. Choose any two axes; everything else stays as set."
    )
    left, right = st.columns(2)
    known = [k for k in AXES if (k != "accept" or choice.draft) and (k != "q" or choice.dense in state.MATCHED)]
    names = {k: v.split(" [")[0].split(",")[0] for k, v in AXES.items()}
    x = left.selectbox("across", known, index=0, key="map-x", format_func=lambda k: names[k])
    y = right.selectbox("up", [k for k in known if k != x], index=0, key="map-y", format_func=lambda k: names[k])
    picture(choice, "map", x=x, y=y)


def quality() -> None:
    """What is known of q, and what the answer makes of it."""
    st.title("What is known of q?", anchor=False)
    st.markdown(
        "The verdict rests on q: how many times the parameters that the MoE uses per token a dense model needs to be "
        "as good. Nobody chooses q: published laws and measured pairs speak of it, and disagree, so what is known is a "
        "range. The setting q replaces it by a value of your own."
    )
    choice, found = asked()
    if found is None:
        return
    picture(choice, "q")
    picture(choice, "evidence")
    st.markdown("\n".join(f"- {md(words.up(text))}" for text in found.notes))
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
    st.html(STYLE)
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
