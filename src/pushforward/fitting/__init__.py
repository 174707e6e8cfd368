"""From a table to a fitted density: the entrants, the race between them, the fit."""
