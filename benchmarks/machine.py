"""What a result was measured on: without it, a figure says nothing."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil
import redis

_PACKAGES = ("grpcio", "protobuf", "redis", "numpy", "uvloop", "feast")
_TELLS_LIBRARIES = ("OPENBLAS_", "OMP_", "GRPC_EXPERIMENTS", "GRPC_POLL_STRATEGY", "MALLOC_", "GLIBC_TUNABLES")
"""How variables begin that make libraries faster or slower: OpenBLAS can be held to the kernels of an older processor."""
_ROOT = Path(__file__).parent.parent


def machine() -> dict[str, object]:
    """Processor, cores this process may use, memory, kernel, how busy it was before anything began, and what libraries are told of it."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
        **{name: value for name, value in sorted(os.environ.items()) if name.startswith(_TELLS_LIBRARIES)},
    }


def versions(redis_url: str, generators: str) -> dict[str, str]:
    """Of all that takes part."""
    with redis.Redis.from_url(redis_url) as client:
        told = client.info("server")
        memory = _loaded_allocator(told["process_id"]) or client.info("memory")["mem_allocator"]
    store = told.get("server_name", "redis")
    said = {"python": platform.python_version(), "store": f"{store} {told[f'{store}_version']}, memory from {memory}"}
    said |= {name: version(name) for name in _PACKAGES}
    said |= {"go": _said("go", "version"), "h2load": _said("h2load", "--version"), "generators": generators}
    return said | {"commit": _said("git", "-C", str(_ROOT), "describe", "--always", "--dirty")}


def _loaded_allocator(pid: int) -> str | None:
    """The library a process gets its memory from; None where it loaded none for that."""
    try:
        libraries = Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return None
    found = re.search(r"\S*/(lib\S*malloc\S*)$", libraries, re.MULTILINE)
    return found and found[1]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _said(*command: str) -> str:
    """What a program says of itself; nothing where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
