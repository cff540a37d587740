"""Packages are compared with KServe's own server: without the extra `predictor` these tests are left out."""

from __future__ import annotations

import importlib.util

NEEDED = ("orjson", "kserve", "uvloop", "grpc_health")
collect_ignore_glob = ["test_package.py"] if any(importlib.util.find_spec(name) is None for name in NEEDED) else []
