"""The controls beside every view, tied to the address bar."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import streamlit as st

from ..errors import RoutelineError
from ..units import show
from . import answers, state, uploads
from .parts import refusal
from .state import Choice
from .words import md, up

MILLI = 1e-3


def sidebar(*, allow_hub: bool) -> Choice:
    """Draw the controls and return what they say. On a visitor's first run they start from the address bar.

    What of it was not understood is said on the page itself: on a phone the controls are folded away.
    """
    if "ready" not in st.session_state:
        _start(allow_hub)
    for text in st.session_state.get("complaints", ()):
        st.warning(md(up(text)), icon=":material/link_off:")
    with st.sidebar:
        _model(allow_hub)
        _devices()
        _serving()
        _requests()
        _finer()
    choice = _collect()
    wanted = state.write(choice)
    if dict(st.query_params) != wanted:
        st.query_params.from_dict(wanted)
    return choice


def _start(allow_hub: bool) -> None:
    keep = st.session_state
    query = {k: st.query_params[k] for k in st.query_params}
    choice, keep["complaints"] = state.read(query, answers.every_model(), answers.devices(), allow_hub=allow_hub)
    for f in fields(Choice):
        keep[f.name] = getattr(choice, f.name)
    keep["tpot"] = None if choice.tpot is None else choice.tpot / MILLI
    keep["utilisation"] = round(100 * choice.utilisation)
    keep["prefix_hit"] = round(100 * choice.prefix_hit)
    keep["accept"] = round(100 * choice.accept)
    keep["ready"] = True


def _among(options: Any, key: str) -> list[Any]:
    """The options with the value a link brought in, in order."""
    now = st.session_state.get(key)
    listed = list(options)
    if now in listed or now is None:
        return listed
    return sorted([*listed, now]) if isinstance(now, (int, float)) else [*listed, now]


def _model(allow_hub: bool) -> None:
    keep = st.session_state
    listed = [state.UPLOAD, *answers.models()] if "uploaded" in keep else list(answers.models())
    if keep["model"] == state.UPLOAD and "uploaded" not in keep:
        keep["model"] = Choice().model
    st.selectbox("MoE model", _among(listed, "model"), key="model", help="A mixture-of-experts model of the catalogue.")
    with st.expander("Your own model", icon=":material/upload_file:"):
        st.file_uploader(
            "Drop in a config.json",
            type=["json"],
            key="file",
            on_change=_uploaded,
            help="The config.json of a Hugging Face model.",
        )
        st.caption("At most 1 MB. It is read as data only, stays in this session and is not part of the link.")
        if allow_hub:
            st.text_input("or a Hugging Face id", key="hub", placeholder="owner/name", on_change=_fetched)
    if keep.get("refused"):
        refusal(keep["refused"])
    names = {"same-attention": "matched dense, same attention", "standard": "matched dense, Llama-like"}
    st.selectbox(
        "compared with",
        [*state.MATCHED, *answers.every_model()],
        key="dense",
        format_func=lambda n: names.get(n, str(n)),
        help="The quality-matched dense model in one of two shapes, or any model of the catalogue.",
    )


def _uploaded() -> None:
    keep = st.session_state
    file = keep.get("file")
    keep["refused"] = ""
    if file is None:
        keep.pop("uploaded", None)
        return
    try:
        keep["uploaded"] = uploads.read_config(file.getvalue(), file.name.removesuffix(".json") or "upload")
        keep["model"] = state.UPLOAD
    except RoutelineError as error:
        keep.pop("uploaded", None)
        keep["refused"] = str(error)


def _fetched() -> None:
    keep = st.session_state
    text = str(keep.get("hub") or "").strip()
    keep["refused"] = ""
    if not text:
        return
    try:
        if not state.HUB_ID.fullmatch(text) or ".." in text:
            raise RoutelineError(f"{text[:60]!r} is not a Hugging Face id; write owner/name")
        answers._hub(text)
        keep["model"] = state.HUB + text
    except RoutelineError as error:
        keep["refused"] = str(error)


def _devices() -> None:
    left, right = st.columns([3, 2])
    left.selectbox("devices", answers.devices(), key="device")
    right.selectbox("how many", _among(state.COUNTS, "count"), key="count", format_func=lambda n: f"{n}×")


def _serving() -> None:
    st.select_slider(
        "context [tokens]",
        _among(state.CONTEXTS, "context"),
        key="context",
        format_func=lambda n: show(float(n), "tokens"),
        help="Tokens already in the cache of each sequence. k = 1024.",
    )
    st.number_input(
        "batch [sequences]", 1, 10**6, None, key="batch", placeholder="the largest that fits", help="Decoded together."
    )
    st.selectbox(
        "weights",
        state.WEIGHTS,
        key="weights",
        help="Stored format of both sides. native: as the checkpoint stores them.",
    )
    st.number_input(
        "q, size of the dense match",
        0.01,
        1000.0,
        None,
        step=0.1,
        key="q",
        placeholder="from published evidence",
        help="Size of the matched dense model over the parameters the MoE uses per token.",
    )


def _requests() -> None:
    with st.expander("Requests", icon=":material/forum:"):
        st.number_input("prompt tokens", 1, 10**7, None, key="input", placeholder="not given")
        st.number_input("output tokens", 1, 10**7, None, key="output", placeholder="not given")
        st.slider("prompt already cached [%]", 0, 100, key="prefix_hit")


def _finer() -> None:
    n = st.session_state["count"]
    with st.expander("Finer settings", icon=":material/tune:"):
        st.selectbox(
            "tier",
            state.TIERS,
            key="tier",
            help="calibrated: fitted to measured kernels; ideal: the roofline; bandwidth: bytes only. The last two are "
            "bounds. auto: calibrated where kernels of the device's class were measured, else ideal.",
        )
        st.selectbox("engine", state.ENGINES, key="engine", format_func=lambda e: e or "the mean of those measured")
        st.selectbox("cache", ("auto", "bf16", "fp16", "fp8", "int8"), key="cache")
        st.selectbox(
            "layout",
            _among(dict.fromkeys(("auto", "pooled", f"tp{n}", f"dp{n},ep{n}")), "layout"),
            key="layout",
            accept_new_options=True,
            help="auto: the best feasible, each side its own. Or write tp=4,dp=2,ep=8.",
        )
        st.selectbox("routing", _among(("uniform", "balanced", "zipf:0.6", "zipf:1.2"), "routing"), key="routing")
        st.selectbox("memory", ("usable", "marketed"), key="memory", help="usable: as the driver reports it.")
        st.slider("memory used [%]", 5, 100, key="utilisation")
        st.number_input("limit on time per token [ms]", 0.001, 1e6, None, key="tpot", placeholder="the MoE's own")
        st.toggle("allow a context past the model's limit", key="extend_context")
        st.slider("draft tokens per step", 0, 16, key="draft")
        st.slider("draft tokens accepted [%]", 0, 100, key="accept")


def _collect() -> Choice:
    keep = st.session_state
    found: dict[str, Any] = {f.name: keep[f.name] for f in fields(Choice)}
    found["tpot"] = None if found["tpot"] is None else found["tpot"] * MILLI
    for name in ("utilisation", "prefix_hit", "accept"):
        found[name] = found[name] / 100
    layout = str(found["layout"] or "auto").strip().lower().replace(" ", "")
    if not state.LAYOUT.fullmatch(layout):
        with st.sidebar:
            refusal("a layout is auto, pooled, or widths such as tp4,dp2,ep8; auto is used")
        layout = "auto"
    found["layout"] = layout
    return Choice(**found)
