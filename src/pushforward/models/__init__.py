"""Fitted models: what a file holds, in the units of the table or of the series."""
