"""Load on a running endpoint, and what it says: a generator, a measurement, a verdict, and the profiler built on them."""
