# SPDX-License-Identifier: Apache-2.0
"""CPU time of groups of processes, by cgroup: cpuacct where version 1 has it, else cpu.stat of version 2."""

import os
import pathlib
import time

_V1 = pathlib.Path("/sys/fs/cgroup/cpuacct")
_V2 = pathlib.Path("/sys/fs/cgroup")


class Cgroup:
    """A cgroup directly below the root. Processes that are started with `prefix` live in it, with their children."""

    def __init__(self, name):
        self.is_v2 = (_V2 / "cgroup.controllers").exists()
        if not self.is_v2 and not (_V1 / "cpuacct.usage").exists():
            raise RuntimeError("neither cgroup v2 nor the cpuacct controller is mounted below /sys/fs/cgroup")
        self.path = (_V2 if self.is_v2 else _V1) / f"gatehouse-bench-{os.getpid()}-{name}"
        self.path.mkdir()

    @property
    def prefix(self):
        return ["/bin/sh", "-c", f'echo $$ >"{self.path}/cgroup.procs" && exec "$@"', "sh"]

    def cpu_ns(self):
        if not self.is_v2:
            return int((self.path / "cpuacct.usage").read_text())
        for line in (self.path / "cpu.stat").read_text().splitlines():
            name, value = line.split()
            if name == "usage_usec":
                return int(value) * 1000
        raise RuntimeError(f"{self.path}/cpu.stat has no usage_usec")

    def remove(self):
        """Its processes have ended; the kernel may need a moment to notice."""
        for _ in range(50):
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.1)
