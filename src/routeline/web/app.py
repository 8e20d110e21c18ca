"""The script that Streamlit runs for every visitor and every change. Started by `routeline web`."""

import sys

import altair.utils.schemapi as checks

from routeline.web.views import run

checks.DEBUG_MODE = False  # specifications are validated by the tests; checking them again costs half of an update

run(allow_hub="--allow-hub" in sys.argv, silicon="--silicon" in sys.argv)
