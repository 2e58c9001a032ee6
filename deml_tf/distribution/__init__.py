"""On how many devices and machines a training runs, and how they are fed."""
