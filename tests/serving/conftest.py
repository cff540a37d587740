"""What the tests of serving share. They need the extra `predictor`; without it they are left out."""

from __future__ import annotations

import importlib.util

NEEDED = ("orjson", "kserve", "uvloop", "grpc_health")
collect_ignore_glob = ["test_*.py"] if any(importlib.util.find_spec(module) is None for module in NEEDED) else []
