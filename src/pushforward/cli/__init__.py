"""The command line: data on stdout, messages on stderr, exit code 2 and one line for a user's mistake."""

from pushforward.cli.app import main

__all__ = ["main"]
