"""Deprecated: `Preprocessing` is now `pushforward.columns.Columns`."""

from pushforward.deprecated import renamed

__getattr__ = renamed(__name__, {"Preprocessing": "pushforward.columns:Columns"})
