"""The command line: stdout is data, stderr is talk, exit code 2 a user's mistake in one line."""

from pushforward.cli.app import main

__all__ = ["main"]
