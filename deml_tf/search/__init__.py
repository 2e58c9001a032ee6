"""Asking an index for the images that are most like one: on the screen, on a page."""
