"""Embedded Triton: find the server, stage a model repository for it, run it, control it, read its counters.

Everything with a process, a port or a file of the server is here; nothing here decides how a model is served.
"""
