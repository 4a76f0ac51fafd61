"""A load on a server of this machine: clients that each send one photograph after the other.

    python load.py http://127.0.0.1:8000 --photo photo.jpg --clients 32 --seconds 10

Several addresses are loaded in turn, in several rounds, and medians are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx


@dataclass(frozen=True, kw_only=True)
class Load:
    """The answers of one server under load.

    Attributes:
        seconds: Duration of the load.
        latencies: Seconds from request to answer, of the requests that were answered.
        statuses: Number of answers with each HTTP status.
    """

    seconds: float
    latencies: list[float]
    statuses: Counter[int]

    @property
    def rate(self) -> float:
        """Photographs that were classified, a second."""
        return self.statuses[200] / self.seconds

    def percentile(self, percent: int) -> float:
        """The latency, in milliseconds, that so many percent of the answers stay below."""
        if len(self.latencies) <= 1:
            return math.nan
        return 1e3 * statistics.quantiles(self.latencies, n=100)[percent - 1]


async def load(address: str, photo: bytes, *, clients: int, seconds: float) -> Load:
    """Send photographs from several clients at once."""
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    began = time.perf_counter()

    async def send(client: httpx.AsyncClient) -> None:
        while time.perf_counter() - began < seconds:
            sent = time.perf_counter()
            answer = await client.post(f"{address}/predict", content=photo)
            statuses[answer.status_code] += 1
            if answer.status_code == httpx.codes.OK:
                latencies.append(time.perf_counter() - sent)

    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        await asyncio.gather(*(send(client) for _ in range(clients)))
    return Load(seconds=time.perf_counter() - began, latencies=latencies, statuses=statuses)


async def compare(args: argparse.Namespace) -> None:
    """Load each server in turn, and print medians."""
    photo = args.photo.read_bytes()
    loads: dict[str, list[Load]] = {address: [] for address in args.addresses}
    for _ in range(args.rounds):
        for address in args.addresses:
            loads[address].append(
                await load(address, photo, clients=args.clients, seconds=args.seconds)
            )
    for address, found in loads.items():
        rate = statistics.median(one.rate for one in found)
        half, most = (statistics.median(one.percentile(p) for one in found) for p in (50, 99))
        statuses = sum((one.statuses for one in found), Counter[int]())
        others = {status: count for status, count in statuses.items() if status != httpx.codes.OK}
        print(
            f"{address}  {args.clients} clients: {rate:.0f} photographs a second, "
            f"latency {half:.0f} ms (median), {most:.0f} ms (99 %)"
            + (f", other answers: {others}" if others else "")
        )


def main() -> None:
    """Run the load that the command line describes."""
    parser = argparse.ArgumentParser(description="Load servers of this machine.")
    parser.add_argument("addresses", nargs="+")
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    try:
        asyncio.run(compare(parser.parse_args()))
    except (OSError, httpx.HTTPError) as error:
        parser.exit(1, f"{parser.prog}: {error or type(error).__name__}\n")
    except KeyboardInterrupt:
        parser.exit(130)


if __name__ == "__main__":
    main()
