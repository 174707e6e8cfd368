"""One HTML page about a fitted density and a table: what to trust, and what the model says of the data."""
