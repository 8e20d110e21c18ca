"""The `routeline` command. One thin file per command: arguments -> library call -> print.

A module `cli/NAME.py` holding a click command `NAME` (or `main`) is the command `routeline NAME`;
underscores turn into dashes. Names that begin with an underscore are helpers. A module is imported only
when its command runs (or the help lists it), so it imports nothing heavy at its top.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from ..errors import RoutelineError, UnknownName, shorten

FIRST = ("compare", "inspect", "models", "devices")
"""Commands listed first in the help; the others follow by name."""


def command_names() -> list[str]:
    """Commands found in this folder, the main ones first."""
    files = [f.removesuffix(".py") for f in os.listdir(os.path.dirname(__file__)) if f.endswith(".py")]
    found = [f.replace("_", "-") for f in files if not f.startswith("_")]
    return sorted(found, key=lambda n: (FIRST.index(n) if n in FIRST else len(FIRST), n))


class Commands(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return command_names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in command_names():
            raise UnknownName("command", cmd_name, command_names(), "`routeline --help` lists them")
        module = import_module(f"{__name__}.{cmd_name.replace('-', '_')}")
        return getattr(module, cmd_name.replace("-", "_"), None) or module.main


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        from .. import __version__

        click.echo(f"routeline {__version__}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "terminal_width": 100})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
)
def routeline() -> None:
    """Mixture of experts or dense, at inference? The roofline for routed models."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; leaves with 0 answered, 2 refused in one sentence, 130 interrupted, 1 our fault."""
    code = run(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _hush()
    raise SystemExit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command in this process and return its exit code; every refusal is one sentence on stderr."""
    try:
        result = routeline.main(args=arguments, prog_name="routeline", standalone_mode=False)
        return result if isinstance(result, int) and not isinstance(result, bool) else 0
    except RoutelineError as error:
        return _refuse(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"; see `{context.command_path} --help`" if context is not None else ""
        return _refuse(error.format_message().rstrip(".") + hint)
    except (KeyboardInterrupt, click.Abort):
        return 130
    except (BrokenPipeError, SystemExit):  # click turns a closed pipe into SystemExit
        _hush()
        return 0
    except OSError as error:
        return _refuse(f"{error.filename or 'a file'}: {error.strerror or error}")
    except Exception as error:
        if os.environ.get("ROUTELINE_TRACEBACK"):
            raise
        kind = type(error).__name__
        _refuse(f"a fault in Routeline ({kind}: {error}); ROUTELINE_TRACEBACK=1 shows where, please report it")
        return 1


def _hush() -> None:
    """Nobody reads stdout any more: let the interpreter flush into nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(sentence: str) -> int:
    print(f"routeline: {shorten(sentence, 1000)}", file=sys.stderr)
    return 2
