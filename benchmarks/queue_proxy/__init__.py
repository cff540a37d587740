"""Knative's own queue-proxy, built from its Go module and run as plain processes, and load over several of them."""
