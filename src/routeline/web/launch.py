"""Start the explorer's server: settings, checks, and the few lines that hand over to Streamlit."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import socket
import time
from pathlib import Path
from typing import Any

from ..errors import RoutelineError
from ..plots import theme
from . import night

SCRIPT = Path(__file__).with_name("app.py")
UPLOAD_MB = 1
M_ARENA_MAX = -8
"""glibc's mallopt parameter: how many heaps threads may open."""


def settings(address: str, port: int) -> dict[str, Any]:
    """Streamlit options: local, quiet, small uploads, no telemetry, no source or traceback shown to visitors."""
    local = address in ("127.0.0.1", "localhost", "::1")
    return {
        "server.address": address,
        "server.port": port,
        "server.headless": True,
        "server.maxUploadSize": UPLOAD_MB,
        "server.maxMessageSize": 20,
        "server.fileWatcherType": "none",
        "server.enableXsrfProtection": True,
        "server.enableCORS": True,
        "server.allowedHosts": ["localhost", "127.0.0.1", "::1"] if local else [],
        "server.enableStaticServing": False,
        "server.showEmailPrompt": False,
        "server.disconnectedSessionTTL": 60,
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "runner.magicEnabled": False,
        "runner.postScriptGC": False,
        "global.developmentMode": False,
        "logger.level": "warning",
        "theme.headingFontSizes": ["1.9rem", "1.6rem", "1.2rem", "1.05rem", "1rem", "0.9rem"],
        "theme.metricValueFontSize": "1.7rem",
        "theme.paddingTop": "1.2rem",
        "theme.paddingBottom": "3rem",
        "theme.light.primaryColor": theme.DENSE,
        "theme.light.textColor": theme.INK,
        "theme.light.blueTextColor": theme.DENSE,
        "theme.light.orangeTextColor": "#B34A00",
        "theme.dark.primaryColor": night.SHADES[theme.DENSE],
        "theme.dark.backgroundColor": night.GROUND,
        "theme.dark.secondaryBackgroundColor": "#20262C",
        "theme.dark.textColor": night.INK,
        "theme.dark.blueTextColor": "#63B5EA",
        "theme.dark.orangeTextColor": "#F59A5B",
    }


def check(address: str, port: int) -> None:
    """Refuse what cannot be served before a server is built.

    Raises:
        RoutelineError: the extra is missing, a bad port or address, or a port in use.
    """
    for name, package in (("streamlit", "streamlit"), ("altair", "altair"), ("vl_convert", "vl-convert-python")):
        if importlib.util.find_spec(name) is None:
            raise RoutelineError(f"the explorer needs the package {package}: pip install 'routeline[web]'")
    if not 1 <= port <= 65535:
        raise RoutelineError(f"port must be between 1 and 65535, not {port}")
    try:
        family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family[0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(family[4])
    except OSError as error:
        raise RoutelineError(
            f"cannot serve on {address}:{port}: {error.strerror or error}; try another --port"
        ) from None


def settle() -> None:
    """Leave what is loaded out of garbage collection, which would otherwise walk all of it again and again."""
    import gc

    gc.collect()
    gc.freeze()


def tidy(every: float = 30.0) -> None:
    """In the background, give memory that visitors used back to the system."""
    import gc
    import threading

    def run() -> None:
        while True:
            time.sleep(every)
            gc.collect()
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(0)

    threading.Thread(target=run, name="routeline-tidy", daemon=True).start()


def launch(address: str, port: int, *, allow_hub: bool = False, silicon: bool = False) -> None:
    """Serve until interrupted."""
    check(address, port)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)  # few heaps: memory that visitors used goes back when they leave
    from streamlit.web import bootstrap

    if silicon:
        from .measured import scored

        scored()
    from . import answers, workers
    from .state import Choice

    workers.start()
    answers.models()
    answers.view(Choice())
    settle()
    tidy()
    options = settings(address, port)
    bootstrap.load_config_options(options)
    bootstrap.run(
        str(SCRIPT), False, [flag for flag, on in (("--allow-hub", allow_hub), ("--silicon", silicon)) if on], options
    )
