"""Benchmarks against the limit of memory and other libraries: `make bench`, or one: `make bench ARGS="-k large"`."""
