"""A kind cluster with Knative Serving, Kourier, KServe, metrics-server and Prometheus, made where no image can be pulled.

`make cluster` builds it from source (Go modules, Debian packages, PyPI), or takes what is published (`prebuilt`).
"""
