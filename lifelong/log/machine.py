"""What a run was made with and on: versions, hardware, threads, seeds, git state, load, memory. Plain data."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "faiss-cpu", "faiss-gpu", "numpy", "pyarrow", "simpy", "safetensors", "pydantic")


def package_version() -> str:
    """Return this package's version."""
    return version("lifelong-edit")


def versions() -> dict[str, str]:
    """Return the versions of Python, this package and those that decide its numbers (absent ones left out)."""
    found = {"python": platform.python_version(), "lifelong-edit": package_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Return processor, cores, memory in bytes and system; unknown ones are left out."""
    found: dict[str, Any] = {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.platform(terse=True)}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory_bytes"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return found


def processor() -> dict[str, Any]:
    """Return what a published measurement says of its machine: the processor and its cores."""
    found = hardware()
    return {name: found[name] for name in ("cpu", "cores")}


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git_state() -> dict[str, Any]:
    """Return commit and whether files differ from it, of the checkout this package lies in ({} when in none)."""
    folder = Path(__file__).parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit, "changed": bool(changed)}


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def load_average() -> tuple[float, ...]:
    """Return the machine's load over 1, 5 and 15 minutes (empty where the system does not tell)."""
    return tuple(round(x, 2) for x in os.getloadavg()) if hasattr(os, "getloadavg") else ()


def rss_bytes() -> int:
    """Return the resident memory of this process in bytes (its peak where the system has no /proc)."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
