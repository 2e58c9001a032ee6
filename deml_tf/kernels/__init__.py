"""What exists for speed on CPUs alone; plain Keras layers give the same numbers."""
