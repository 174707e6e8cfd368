"""How far a fitted density can be trusted: measures on held-out rows, and the verdict in words."""
