"""Starting the processes of a distributed run, as torchrun would: on this machine, or as if on two.

Two network namespaces with a cable between them (a veth pair) are two machines to TCP.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

# The addresses at the ends of the cable, of a block that documents use, and nobody else.
ENDS = ("192.0.2.1", "192.0.2.2")
SECONDS_FOR_IP = 600
# After which processes that wait for each other are given up.
SECONDS_TOGETHER = 300
# What `ip` says where it lacks rights, or the kernel the devices.
NOT_HERE = ("not permitted", "Permission denied", "not supported", "Unknown device type")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def launch(
    program: Path,
    arguments: Sequence[str],
    processes: int,
    *,
    namespaces: Sequence[tuple[str, str]] = (),
) -> list[tuple[int, str]]:
    """The exit status of each process, and what it wrote to stderr; one alone knows no others.

    Each of `namespaces`, by its name and that of its interface, has one process.
    """
    around = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    if processes > 1:
        address = ENDS[0] if namespaces else "127.0.0.1"
        around |= {"MASTER_ADDR": address, "MASTER_PORT": str(free_port())}
        around |= {"WORLD_SIZE": str(processes)}
    started = []
    for place in range(processes):
        command = [sys.executable, "-W", "ignore", str(program), *arguments]
        own = around
        if processes > 1:
            name, interface = namespaces[place] if namespaces else ("", "lo")
            command = ["ip", "netns", "exec", name, *command] if namespaces else command
            own = {**around, "RANK": str(place), "GLOO_SOCKET_IFNAME": interface}
            own["LOCAL_RANK"] = "0" if namespaces else str(place)
        started.append(subprocess.Popen(command, env=own, stderr=subprocess.PIPE, text=True))
    errors = [process.communicate()[1] for process in started]
    return [(process.returncode, text) for process, text in zip(started, errors, strict=True)]


def torchrun(*arguments: object, cwd: Path) -> str:
    """The output of a program that torchrun starts in two processes."""
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    around = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [*command, *map(str, arguments)],
        cwd=cwd,
        env={**around, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=SECONDS_TOGETHER,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def two_machines() -> Iterator[list[tuple[str, str]]]:
    """Two network namespaces, joined by a cable: the name of each, and of its end of the cable."""
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip` of iproute2")
    places = [(f"cnnzoo-{os.getpid()}-{end}", f"cz{os.getpid()}{end}") for end in "ab"]
    try:
        for name, _ in places:
            _ip("netns", "add", name)
        (_, one), (_, other) = places
        _ip("link", "add", one, "type", "veth", "peer", "name", other)
        for (name, interface), address in zip(places, ENDS, strict=True):
            _ip("link", "set", interface, "netns", name)
            _ip("-n", name, "address", "add", f"{address}/30", "dev", interface)
            _ip("-n", name, "link", "set", interface, "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield places
    finally:
        # The cable goes with its ends, unless it has not come into a namespace yet.
        subprocess.run(["ip", "link", "del", places[0][1]], stderr=subprocess.DEVNULL, check=False)
        for name, _ in places:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)


def _ip(*arguments: str) -> None:
    """Run `ip`; where the system does not let it, the test is skipped with what `ip` says."""
    command = ["ip", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS_FOR_IP, check=False
    )
    if done.returncode:
        said = f"`{' '.join(command)}`: {done.stderr.strip()}"
        if any(reason in done.stderr for reason in NOT_HERE):
            pytest.skip(said)
        raise AssertionError(said)
