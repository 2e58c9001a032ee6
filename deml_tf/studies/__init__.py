"""Studies: variants of a training with several seeds each, and what their runs show."""
