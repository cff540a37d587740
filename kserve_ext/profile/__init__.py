"""Measured service times: points to a monotone law, and the file they are kept in."""
