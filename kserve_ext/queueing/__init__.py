"""Formulas of queueing theory: rates and service times in, replicas out. Pure; knows nothing of the simulator."""
