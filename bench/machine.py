"""What the figures were taken on, what a process weighs, and whether the machine is quiet enough to measure."""

import os
import platform
import time
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
QUIET = 0.12  # the share of the processors that may be busy with something else


def facts() -> dict[str, str]:
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PHYS_PAGES") * PAGE / 2**30
    return {
        "processors": f"{os.cpu_count()} x {models[0] if models else platform.machine()}",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = list[int](), [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def cpu_s(*pids: int) -> float:
    """Processor seconds that these programs have used so far: their processes, and those that these have outlived."""
    ticks = 0
    for member in {one for pid in pids for one in family(pid)}:
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Of one process, shared pages included."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20


def _busy(seconds: float = 0.25) -> float:
    def ticks() -> tuple[int, int]:
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(fields) - fields[3] - fields[4], sum(fields)

    before = ticks()
    time.sleep(seconds)
    after = ticks()
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def wait_until_quiet(*, below: float = QUIET, at_most_s: float = 15.0) -> float:
    """Between two samples our own servers idle, so what is busy is somebody else. The share that was still busy at the end."""
    until = time.monotonic() + at_most_s
    while (share := _busy()) >= below and time.monotonic() < until:
        time.sleep(0.25)
    return share
