"""The command `pushforward`: its subcommands, and how their errors are reported."""

import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from pushforward.cli import failures
from pushforward.cli.check import check
from pushforward.cli.explain import explain
from pushforward.cli.fit import fit
from pushforward.cli.hosts import among_hosts, leave
from pushforward.cli.impute import impute
from pushforward.cli.inspect import inspect
from pushforward.cli.interpolate import interpolate
from pushforward.cli.interrupts import Terminated, tidy_end
from pushforward.cli.list import list_
from pushforward.cli.programs import keep_programs
from pushforward.cli.report import report
from pushforward.cli.sample import sample
from pushforward.cli.score import score
from pushforward.errors import InputError, InputWarning

INTERRUPTED = 130
"""The exit code of a program ended by Ctrl-C: 128 + SIGINT."""

# Typer 0.25 and later include a copy of click, which itself may not be installed.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="pushforward",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
)


@app.callback(invoke_without_command=True)
def pushforward(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Fit the density of a table, by a normalizing flow where it holds numbers, then score rows and draw samples.

    \b
      pushforward fit data.csv -o m.safetensors
      pushforward score m.safetensors new.csv -o scores.csv
      pushforward sample m.safetensors -n 1000 -o draws.csv
      pushforward inspect m.safetensors
      pushforward report m.safetensors data.csv -o report.html

    \b
    The density of some columns given others:
      pushforward fit data.csv --columns delay --condition hour -o m.safetensors
      pushforward sample m.safetensors -n 100 --condition hours.csv -o draws.csv
      pushforward check m.safetensors new.csv

    \b
    Of tables with text, dates or gaps, also:
      pushforward impute m.safetensors gaps.csv -o filled.csv
      pushforward explain m.safetensors new.csv -o why.csv
      pushforward sample m.safetensors -n 1000 --where "delay>60" -o late.csv

    \b
    Of pictures, in a folder, .npz or IDX file:
      pushforward fit digits/ -o m.safetensors --max-time 600
      pushforward sample m.safetensors -n 64 --grid draws.png

    Tables are CSV, TSV, Parquet, NPY or NPZ, by the suffix of the file, with one row per observation
    and cells of any kind: numbers for a flow, for a typed model also text, dates and gaps. `-` is CSV
    on standard input or output, and `file.npz:train` is the array `train` of an archive. Columns are
    matched by name, in any order. A file without column names has columns x0, x1, ...; score and
    sample match them by position.

    Log densities are in nats per row, in the units of the table. Results go to standard output or
    the file named by `-o`, everything else to standard error. Exit codes: 0 success, 2 a mistake in
    the input (one line says which), 1 any other failure, 130 stopped by Ctrl-C, 143 by SIGTERM.

    Compiled programs are cached in the user's cache folder, at most 512 MiB, for the next command;
    JAX_COMPILATION_CACHE_DIR names another folder, JAX_ENABLE_COMPILATION_CACHE=0 turns this off.
    """
    if version:
        from pushforward import __version__

        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())


app.command("fit")(fit)
app.command("score")(score)
app.command("sample")(sample)
app.command("impute")(impute)
app.command("explain")(explain)
app.command("inspect")(inspect)
app.command("report")(report)
app.command("check")(check)
app.command("interpolate")(interpolate)
app.command("list")(list_)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Arguments:
        arguments: the words after `pushforward`; default those of the process.
    """
    try:
        return leave(_run(arguments))
    except Exception:
        if among_hosts():
            # Not swallowed: printed here, as `leave` ends the process. Python's own way out would wait for the others.
            traceback.print_exc()
            leave(1)
        raise


def _run(arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        keep_programs()
        failures.settle()
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # A name may have characters that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None:  # closed: `print` would write to standard output instead
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
    # Standard error is for what the user can act on. Warnings of libraries appear only if `python -W` or
    # PYTHONWARNINGS asks for them.
    logging.getLogger("jax").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", InputWarning)
            warnings.showwarning = _warn
        try:
            with (
                tidy_end(),
                typer.main.get_command(app).make_context("pushforward", words) as context,
            ):
                context.command.invoke(context)
            if sys.stdout is not None:
                sys.stdout.flush()
        except typer.Exit as stop:
            return stop.exit_code
        except KeyboardInterrupt as stop:
            return _fail(str(stop) or "interrupted", INTERRUPTED)
        except Terminated as stop:
            return _fail(str(stop), stop.code)
        except BrokenPipeError:
            return _reader_left()
        except InputError as error:
            return _fail(str(error), 2)
        except UsageError as error:
            return _fail(_usage(error), 2)
        except OSError as error:
            # Such as a full disk or a lost mount, which a traceback would not explain better.
            where = f"{error.filename}: " if error.filename else ""
            return _fail(f"{where}{error.strerror or error}", 1)
        except Exception as error:
            if (line := failures.line_of(error)) is None:
                raise
            return _fail(line, 1)
    return 0


def _usage(error: Exception) -> str:
    """A mistake in the command line itself, in one line that ends with the command for help."""
    context = getattr(error, "ctx", None)
    path = "pushforward" if context is None else context.command_path
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    return f"{message.strip().rstrip('.')} (see {path} --help)"


def _warn(message: Warning | str, *details: object, **more: object) -> None:
    print("pushforward: warning:", " ".join(str(message).split()), file=sys.stderr)


def _fail(message: str, code: int) -> int:
    print("pushforward:", " ".join(message.split()), file=sys.stderr)
    return code


def _reader_left() -> int:
    """End without an error, as the reader of standard output, such as `head`, has seen enough."""
    # What is still buffered would fail again when the interpreter flushes it at exit.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    return 0
