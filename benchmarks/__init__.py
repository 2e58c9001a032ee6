"""How fast this project is, as ratios inside one run: `python -m benchmarks`."""
