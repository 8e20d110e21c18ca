"""`routeline cite`: the sources of one answer."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from ._options import command, devices_option, json_option, model_argument, scenario_options
from ._show import console, emit, table


@command(example="routeline cite DeepSeek-V3 --devices 8xH200 --context 128k")
@model_argument
@devices_option
@scenario_options()
@click.option("--bibtex", is_flag=True, help="Print BibTeX.")
@json_option
def cite(model: str, devices: str, given: dict[str, Any], bibtex: bool, as_json: bool) -> None:
    """References of exactly the data, laws and specifications that this answer of `compare` used."""
    from ..answer.citations import citations
    from ..resolve import ask

    found = citations(ask(model, devices, **given))
    if as_json:
        emit({"schema_version": 1, "citations": [asdict(c) for c in found]})
    elif bibtex:
        click.echo("\n\n".join(c.bibtex for c in found))
    else:
        rows = [(c.used_for, c.source + (f"\n{c.url}" if c.url and c.url not in c.source else "")) for c in found]
        console().print(table(["used for", "source"], rows, left=2))
