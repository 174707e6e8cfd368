"""Tables in and out, and the pre-processing between a table and a model."""
