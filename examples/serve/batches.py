"""Batches of requests that wait together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class BusyError(Exception):
    """As many requests wait as may."""


class Batches(Generic[Item, Answer]):
    """Runs the requests that wait as one batch, one batch at a time, in a thread.

    No request waits for company: a batch begins as soon as the one before it has ended, with what
    waits then. A lone request is as fast as without batches, and a crowd shares them.
    """

    def __init__(
        self, run: Callable[[Sequence[Item]], Sequence[Answer]], *, most: int, waiting: int
    ) -> None:
        """Describe the batches.

        Args:
            run: Answers a batch, one answer for each item, in the same order.
            most: Number of items in a batch, at most.
            waiting: Number of items that wait for a batch, at most.
        """
        self._run, self._most = run, most
        self._waiting: asyncio.Queue[tuple[Item, asyncio.Future[Answer]]] = asyncio.Queue(waiting)
        self._worker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Batches[Item, Answer]:
        self._worker = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End after the batch that runs; whoever still waits is told that nobody answers."""
        if self._worker is not None:
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker
        while not self._waiting.empty():
            self._waiting.get_nowait()[1].cancel()

    async def answer(self, item: Item) -> Answer:
        """The answer for one item, once its batch has run.

        A caller that is cancelled, by a time limit or since its client has gone, leaves the queue.

        Raises:
            BusyError: As many items wait as may.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        try:
            self._waiting.put_nowait((item, future))
        except asyncio.QueueFull:
            raise BusyError from None
        return await future

    async def _work(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < self._most and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            batch = [(item, future) for item, future in batch if not future.done()]
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        futures = [future for _, future in batch]
        try:
            answers = await asyncio.to_thread(self._run, [item for item, _ in batch])
        except Exception as error:
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        except asyncio.CancelledError:
            for future in futures:
                future.cancel()
            raise
        else:
            for future, answer in zip(futures, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
