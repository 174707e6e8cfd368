"""`pushforward explain`: what is strange about the rows of a table."""

from typing import Annotated

import typer

from pushforward.cli import options
from pushforward.cli.progress import Meter, on_terminal, say
from pushforward.cli.typed import typed_model


def explain(
    model: options.Model,
    data: options.Data,
    output: options.TableOutput = "-",
    worst: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Only the N strangest rows, the strangest first."),
    ] = None,
    cells: Annotated[
        bool, typer.Option("--cells", help="A line for every cell, not only the one to blame.")
    ] = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Say how strange each row of a table is, and which column is to blame.

    Every cell is compared with what all others of its row let one expect: its surprise is minus the
    log-probability of its value given the others, its expected surprise the mean of that over all
    values it might have had. A cell is strange where the first is far above the second, which a rare
    value of a column of rare values is not.

    \b
    The columns of the output:
      row          its number, from 1
      log_prob     of the row, in nats, as score writes it
      excess       surprise minus expected surprise, summed over the cells of the row
      column       the column to blame: that of the largest difference
      value        what it holds
      surprise     of this value, in nats
      expected     the surprise that was to be expected, in nats
      tail         the probability of a value that is as improbable, or more so
      usual        what was to be expected: the most probable label and its probability, or between
                   which numbers the value would lie with probability 0.9

    \b
      pushforward explain m.safetensors new.csv -o why.csv
      pushforward explain m.safetensors new.csv --worst 20
    """
    from pushforward.data.frames import read_frame, write_frame
    from pushforward.data.tables import check_output
    from pushforward.models.explanation import explained

    check_output(output, force)
    options.refuse_same_file(output, model, data)
    fitted = typed_model(model, "explain rows")
    frame = read_frame(data)
    with Meter("explaining", quiet, output != "-" or not on_terminal()) as meter:
        meter.update(f"{len(frame):,} rows")
        lines = explained(fitted, frame, worst=worst, cells=cells)
        write_frame(lines, output)
    say(f"{len(lines):,} lines on {len(frame):,} rows", quiet)
