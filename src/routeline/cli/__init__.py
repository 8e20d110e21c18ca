"""The `routeline` command. One thin file per command: arguments -> library call -> print.

A module `cli/NAME.py` becomes the command NAME (underscores turn into dashes). It exposes a function
`NAME`, or `main`, with Typer parameters; or `app`, a `typer.Typer`, for a command with subcommands.
Names that begin with an underscore are helpers. A module is imported only when its command runs (or its
help is listed), so it imports nothing heavy at its top.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from ..errors import RoutelineError, UnknownName, shorten

FIRST = ("compare", "inspect", "models", "devices")
"""Commands listed first in the help; the others follow by name."""

UsageError: Any = typer.BadParameter.__base__


def command_names() -> list[str]:
    """Commands found in this folder, the main ones first."""
    files = [f.removesuffix(".py") for f in os.listdir(os.path.dirname(__file__)) if f.endswith(".py")]
    found = [f.replace("_", "-") for f in files if not f.startswith("_")]
    return sorted(found, key=lambda n: (FIRST.index(n) if n in FIRST else len(FIRST), n))


class Commands(TyperGroup):
    """A Typer group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return command_names()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in command_names():
            raise UnknownName("command", cmd_name, command_names(), "`routeline --help` lists them")
        return load_command(cmd_name)


def load_command(name: str) -> Any:
    """Import a command's module and build its Typer command."""
    module_name = name.replace("-", "_")
    module = import_module(f"{__name__}.{module_name}")
    group = getattr(module, "app", None)
    if group is not None:
        built: Any = get_group(group)
    else:
        run = getattr(module, module_name, None) or module.main
        single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        single.command(name=name, no_args_is_help=bool(getattr(run, "needs_arguments", False)))(run)
        built = get_command(single)
    built.name = name
    return built


def _version(value: bool) -> None:
    if value:
        from .. import __version__

        typer.echo(f"routeline {__version__}")
        raise typer.Exit


app = typer.Typer(cls=Commands, add_completion=False, rich_markup_mode="markdown", no_args_is_help=True)


@app.callback()
def routeline(
    version: bool = typer.Option(False, "--version", help="Print the version and leave.", callback=_version,
                                 is_eager=True),
) -> None:  # fmt: skip
    """Mixture of experts or dense, at inference? The roofline for routed models."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 answered, 2 refused in one sentence, 130 interrupted."""
    code = run(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command in this process and return its exit code; every refusal is one sentence on stderr."""
    try:
        result = get_group(app).main(args=arguments, prog_name="routeline", standalone_mode=False)
        return result if isinstance(result, int) and not isinstance(result, bool) else 0
    except RoutelineError as error:
        return _refuse(str(error))
    except UsageError as error:
        context = getattr(error, "ctx", None)
        help_hint = f"; see `{context.command_path} --help`" if context is not None else ""
        return _refuse(error.format_message().rstrip(".") + help_hint)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _refuse(f"{error.filename or 'a file'}: {error.strerror or error}")
    except Exception as error:
        if os.environ.get("ROUTELINE_TRACEBACK"):
            raise
        kind = type(error).__name__
        _refuse(f"a fault in Routeline ({kind}: {error}); ROUTELINE_TRACEBACK=1 shows where, please report it")
        return 1


def _refuse(sentence: str) -> int:
    print(f"routeline: {shorten(sentence, 1000)}", file=sys.stderr)
    return 2
