"""`pushforward list`: the flows for `fit --flow`."""

import shutil
import sys
import textwrap


def list_() -> None:
    """List the flows that `fit --flow` knows, and their options.

    Those marked [pictures] are of pictures, the others of tables. Options are shown with their
    defaults; `fit --flow NAME --set key=value` changes them. The last line lists the base
    distributions, for the option `base`.
    """
    from pushforward.architectures import ARCHITECTURES, Facts
    from pushforward.cli.options import architecture_defaults
    from pushforward.distributions import BASES
    from pushforward.errors import InputError

    width = min(100, shutil.get_terminal_size((100, 24)).columns)

    def paragraph(text: str) -> str:
        indent = " " * 9
        return textwrap.fill(
            text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )

    for name in ARCHITECTURES:
        try:
            kind = ARCHITECTURES[name]
        except InputError as error:
            # A broken package must not hide the rest.
            print(f"pushforward: warning: {error}", file=sys.stderr)
            continue
        options = architecture_defaults(kind)
        facts = Facts.of(kind())
        mark = "[pictures]" if facts.images else ""
        print(f"{name:<17}{facts.reference} {mark}".rstrip())
        first = (kind.__doc__ or "").strip().split("\n\n")[0]
        print(paragraph(" ".join(first.split())))
        print(paragraph("  ".join(f"{key}={value}" for key, value in options.items())))
        print()
    print(f"{'base':<17}{', '.join(BASES)}")
