"""The accuracy view: error tables and predicted-against-measured charts, where the package ships them."""

from __future__ import annotations

import streamlit as st

from .state import Choice


def show(choice: Choice) -> None:
    """What is measured so far."""
    st.info(
        "The tiers bandwidth and ideal are bounds: they say what the hardware allows, not what an engine reaches. "
        "`routeline validate` scores predictions against measured serving points.",
        icon=":material/info:",
    )
