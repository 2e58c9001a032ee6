"""The benchmarks of zero-shot retrieval, in the layouts in which they are published."""
