"""Searching an index for the images most like a given one: in a terminal, on a page."""
