"""Run one command of the command line: parse the arguments, and turn errors into one line and an exit status."""

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from io import TextIOWrapper

from birefnet_lite.cli import CommandError, describe_error, report
from birefnet_lite.cli.parser import build_parser

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Those after the program's name; None is `sys.argv`.

    Returns:
        The exit status: 0 done, 1 done in part, 2 not at all, 130 interrupted.

    Raises:
        SystemExit: The arguments are wrong, or ask for help; argparse does this.
    """
    options = build_parser().parse_args(arguments)
    with _any_text_printable(), warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            return import_module(f"birefnet_lite.cli.{options.command}").run(options)
        except CommandError as error:
            report(str(error))
            return 2
        except KeyboardInterrupt:
            report("stopped by the keyboard; all files that were written are complete")
            return 130
        except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (OSError, UnicodeError, MemoryError) as error:
            report(describe_error(error))
            return 2


@contextmanager
def _any_text_printable() -> Iterator[None]:
    """Print characters that the terminal's encoding lacks as escapes, such as `\\u2713`, instead of failing."""
    changed = []
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
            changed.append(stream)
    try:
        yield
    finally:
        for stream in changed:
            with suppress(ValueError, OSError):  # closed meanwhile
                stream.reconfigure(errors="strict")


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    report(f"note: {message}")
