"""Benchmarks: each prints a table and writes out/bench/NAME.json. Nothing in kserve_ext imports them."""
