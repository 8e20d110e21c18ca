"""`routeline web`: the explorer page."""

from __future__ import annotations

import click

from ._options import command


@command(example="routeline web --dry-run")
@click.option("--port", default=8501, show_default=True, help="Port to serve on.")
@click.option(
    "--address", default="127.0.0.1", show_default=True, help="Address to serve on; 0.0.0.0 opens it to others."
)
@click.option(
    "--allow-hub", is_flag=True, help="Let visitors name Hugging Face models, which this machine then fetches."
)
@click.option("--silicon", is_flag=True, help="Score predictions on measured rows first and show them (a minute).")
@click.option("--dry-run", is_flag=True, help="Check that the page can be served, say where, and leave.")
def web(port: int, address: str, allow_hub: bool, silicon: bool, dry_run: bool) -> None:
    """Explore in the browser: choose models and devices, see the verdict, numbers and charts follow.

    Served to this machine only unless told otherwise; nothing is sent anywhere.
    """
    from ..web import launch

    launch.check(address, port)
    shown = f"[{address}]" if ":" in address else address
    click.echo(f"the explorer: http://{shown}:{port}" + ("" if dry_run else "  (Ctrl-C stops it)"))
    if not dry_run:
        launch.launch(address, port, allow_hub=allow_hub, silicon=silicon)
