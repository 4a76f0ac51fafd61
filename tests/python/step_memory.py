"""The memory of a step, measured in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

MEASURE = """
def kilobytes(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field + ":"))

step({first}, 64)  # What libtorch sets up once is no activation.
with open("/proc/self/clear_refs", "w") as clear:
    clear.write("5")  # The peak starts anew from what is used now.
before = kilobytes("VmHWM")
step({batch}, 224)
print(1024 * (kilobytes("VmHWM") - before))
"""


def memory_of_step(script: str, *arguments: str, first: int, batch: int) -> int:
    """The bytes by which one step raises the peak of a process.

    Args:
        script: Defines `step(batch, size)`.
        *arguments: Arguments of the script.
        first: The batch of a step of 64 pixels before, which is not measured.
        batch: The batch of the step of 224 pixels that is.
    """
    # Freed memory goes back at once, instead of staying with the allocator.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 17)}
    command = [sys.executable, "-c", script + MEASURE.format(first=first, batch=batch), *arguments]
    run = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return int(run.stdout)
