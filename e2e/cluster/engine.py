"""The container engine of this machine: whether one answers, and Debian's, installed and started when asked.

`up` uses an engine that runs. Only `host` installs packages and starts a daemon, and `host --stop` ends only that one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from e2e.cluster.settings import HERE, Settings
from e2e.cluster.work import Log, Missing, Workshop, until

NEEDED = {  # program -> Debian package
    "dockerd": "docker.io", "debootstrap": "debootstrap", "iptables": "iptables", "ip": "iproute2", "jq": "jq",
    "openssl": "openssl", "unzip": "unzip", "curl": "curl",
}  # fmt: skip
# Bits of CapBnd, from linux/capability.h.
_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
_ROOT = Path("/var/lib/docker")
_RUN = Path("/run/docker")
_PID_FILE = Path("/run/docker.pid")


def answers() -> bool:
    """Whether an engine answers the docker client."""
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def check() -> None:
    """Raise Missing where no engine answers."""
    if not answers():
        raise Missing(
            "no container engine answers `docker info`. Start yours, or let `make cluster-host` install and start "
            "Debian's docker.io (as root; adds packages and a daemon to this machine)"
        )


def missing_capabilities(status: str = "", last: int = -1) -> list[str]:
    """What `docker run --privileged` asks for and this machine cannot give, from /proc/self/status and cap_last_cap."""
    status = status or Path("/proc/self/status").read_text()
    last = last if last >= 0 else int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    bounding = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:")), 16)
    return [f"CAP_{name}" for bit, name in enumerate(_CAPABILITIES.split()) if bit <= last and not bounding >> bit & 1]


def install_and_start(given: Settings, shop: Workshop) -> None:
    """Debian's engine, running. Raises Missing where this is no Debian, or not root."""
    if absent := [package for program, package in NEEDED.items() if not shutil.which(program)]:
        _check_may_install(absent)
        with shop.step("packages") as log:
            quiet = {"DEBIAN_FRONTEND": "noninteractive"}
            log.run("apt-get", "update", "-q", env=quiet)
            log.run("apt-get", "install", "-y", "-q", "--no-install-recommends", *absent, env=quiet)
    if answers():
        shop.line("engine", "running", 0.0)
        return
    if os.geteuid() != 0:
        raise Missing("starting a container engine needs root: run `sudo make cluster-host`")
    with shop.step("engine") as log:
        forget_killed_engine(log)
        _start(given, log)


def stop(given: Settings, shop: Workshop) -> None:
    """End the engine that `install_and_start` started here, and nothing else."""
    mark = _folder(given) / "pid"
    pid = _number(mark)
    if not pid or _program(pid) != "dockerd":
        mark.unlink(missing_ok=True)
        shop.line("engine", "not ours", 0.0)
        return
    with shop.step("engine-stop") as log:
        os.kill(pid, signal.SIGTERM)
        until("the end of dockerd", lambda: _program(pid) != "dockerd", seconds=60)
        mark.unlink()
        forget_killed_engine(log)


def _check_may_install(packages: list[str]) -> None:
    what = f"missing on this machine: {', '.join(packages)}"
    if not shutil.which("apt-get"):
        raise Missing(f"{what}. Only Debian and its kin are known here: install them by hand")
    if os.geteuid() != 0:
        raise Missing(f"{what}. Installing needs root: run `sudo make cluster-host`")


def _folder(given: Settings) -> Path:
    return given.cache / "engine"


def _start(given: Settings, log: Log) -> None:
    folder = _folder(given)
    folder.mkdir(parents=True, exist_ok=True)
    command = ["dockerd", f"--pidfile={_PID_FILE}"]
    if missing := missing_capabilities():
        log.say(f"without {', '.join(missing)}: through a runtime that does not ask for them")
        (folder / "missing.json").write_text(json.dumps(missing))
        wrapper = shutil.copy(HERE / "host" / "runc-without-missing.sh", folder / "runc-without-missing")
        command += [f"--add-runtime=without-missing={wrapper}", "--default-runtime=without-missing"]
    log.say("$ " + " ".join(command))
    with (folder / "dockerd.log").open("w") as output:
        daemon = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
        )
    (folder / "pid").write_text(str(daemon.pid))
    end = time.monotonic() + 60
    while not answers():
        if daemon.poll() is not None or time.monotonic() > end:
            log.say((folder / "dockerd.log").read_text()[-3000:])
            raise OSError(f"dockerd did not start; its log is {folder / 'dockerd.log'}")
        time.sleep(0.3)


def forget_killed_engine(log: Log) -> None:
    """Remove what an engine killed with all its processes leaves behind and the next one trips over.

    Pid files name numbers that other programs may have by now, and mounts keep folders busy. Nothing is touched while
    any dockerd or containerd runs.
    """
    if _running("dockerd"):
        return
    for pid_file in (_PID_FILE, _RUN / "containerd" / "containerd.pid"):
        pid = _number(pid_file)
        if pid_file.exists() and not (pid and _program(pid) in ("dockerd", "containerd")):
            log.say(f"stale: {pid_file}")
            pid_file.unlink()
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed(mounts):
        if mount.startswith((f"{_ROOT}/", f"{_RUN}/", "/var/run/docker/")):
            log.works("umount", "-l", mount)
    for shim in (_RUN / "containerd").glob("*.sock*"):
        shim.unlink()


def _running(program: str) -> bool:
    return any(_program(int(entry.name)) == program for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _program(pid: int) -> str:
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    name, _, rest = state.partition("(")[2].rpartition(")")
    return "" if rest.split()[0] == "Z" else name


def _number(file: Path) -> int:
    try:
        return int(file.read_text().strip() or 0)
    except (OSError, ValueError):
        return 0
