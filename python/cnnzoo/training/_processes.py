"""The processes that train together, by `torch.distributed`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from cnnzoo._arguments import instance
from cnnzoo.errors import ArgumentError, ProcessError
from cnnzoo.model import Model
from cnnzoo.training._group import Group, ended

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

# The callback that runs and may exchange nothing, and why; empty where none does.
_ALONE: ContextVar[str] = ContextVar("alone", default="")
# The callback that runs in all of several processes, and these.
_CALLED: ContextVar[tuple[str, Processes] | None] = ContextVar("called", default=None)


class Processes:
    """The processes of the default group of `torch.distributed`, of which this is one.

    The group is begun where torchrun has started the process and nobody has begun it yet: with NCCL
    if its device is a GPU, else with gloo.

    Attributes:
        place: The number of this process, its rank.
        count: The number of processes.
        norms: Whether batch norm uses the statistics of the batch of all processes.
        failure: The message of the last exchange that failed in the fit; None if none has.
    """

    def __init__(self, device: str, *, norms: bool) -> None:
        import torch.distributed as group

        if not group.is_available():
            raise ArgumentError("`distributed`: expected a PyTorch with torch.distributed")
        on_gpu = device.startswith("cuda")
        if not group.is_initialized():
            if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
                raise ArgumentError(
                    "`distributed`: expected a process that torchrun started, or one that called "
                    "torch.distributed.init_process_group, got another one; start it by "
                    "`torchrun --nproc-per-node=2 script.py`"
                )
            group.init_process_group("nccl" if on_gpu else "gloo")
        self.place, self.count, self.norms = group.get_rank(), group.get_world_size(), norms
        # NCCL exchanges numbers on the GPU alone.
        self._device = device if on_gpu else "cpu"
        self.failure: str | None = None
        # That of the fit that runs.
        self._group: Group | None = None

    @contextmanager
    def together(self) -> Iterator[None]:
        """Exchange in a group of its own, which a process that fails leaves.

        So the others, which would wait for it, fail at once.

        Raises:
            ProcessError: Another process has failed, ended, or does not answer.
        """
        if self._group is not None:
            yield
            return
        self.failure = None
        self._group = self._ask(lambda: Group(self.place, self._device))
        try:
            yield
        except BaseException as error:
            self._group.fail(error)
            raise
        finally:
            self._group.leave()
            self._group = None

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes, through which autograd goes back."""
        from cnnzoo.training._sum import sum_of

        return sum_of(tensor, self._exchange)

    def numbers(self, own: list[float]) -> list[float]:
        """The sums of numbers over all processes, in float64."""
        import torch
        import torch.distributed as group

        tensor = torch.tensor(own, dtype=torch.float64, device=self._device)
        self._exchange(group.all_reduce, tensor)
        return [float(number) for number in tensor.tolist()]

    def every(self, own: T) -> list[T]:
        """The values of all processes, in their order."""
        import torch
        import torch.distributed as group

        found: list[Any] = [None] * self.count
        # Objects travel by the current GPU.
        on_gpu = self._device != "cpu"
        with torch.cuda.device(self._device) if on_gpu else nullcontext():
            self._exchange(group.all_gather_object, found, own)
        return found

    def first(self, own: T) -> T:
        """The value of the first process."""
        return self.every(own)[0]

    def align(self, model: Model, *, statistics: bool = False) -> None:
        """Give a model the parameters of the first process, or its running statistics alone."""
        import torch
        import torch.distributed as group

        from cnnzoo import _training

        with torch.no_grad():
            for _, is_parameter, tensor in _training.share(model._for_training()):
                if not (statistics and is_parameter):
                    # A copy in the order of its axes, whatever the layout of each process.
                    values = tensor.detach().contiguous()
                    self._exchange(group.broadcast, values, 0)
                    tensor.detach().copy_(values)

    def meet(self, *, asker: str = "") -> None:
        """Check that all processes, in their callbacks, are about to exchange something, or none.

        Args:
            asker: The callback that is about to; empty at the end of all callbacks.

        Raises:
            ArgumentError: Some are and some are not, who would wait for each other.
        """
        called = _CALLED.set(None)
        try:
            (askers,) = self.numbers([float(bool(asker))])
        finally:
            _CALLED.reset(called)
        if askers == (self.count if asker else 0):
            return
        expected = (
            "expected every process to take part in what all do together, such as "
            "`trainer.evaluate`, since each waits for the others"
        )
        instead = (
            "call it in all of them, not behind `if rank == 0`; in one of them, "
            "`cnnzoo.metrics.evaluate(trainer.model, ...)` evaluates without the others"
        )
        if asker:
            without = f"{self.count - int(askers)} of {self.count}"
            raise ArgumentError(f"{asker}: {expected}, got {without} without it; {instead}")
        raise ArgumentError(
            f"callbacks: {expected}, got it in {int(askers)} of {self.count} processes, and none "
            f"in this one, process {self.place}; {instead}"
        )

    def part(self, rows: int) -> slice:
        """The rows of a batch that are this process's; the first one has one wherever there is."""
        ends = [-(-rows * place // self.count) for place in (self.place, self.place + 1)]
        return slice(*ends)

    def _exchange(self, function: Callable[..., Any], *given: Any) -> None:
        """Call a function of `torch.distributed` in the group of the fit.

        Raises:
            ProcessError: Another process has failed, ended, or does not answer.
        """
        own = self._group
        self._ask(lambda: function(*given, group=None if own is None else own.inner))

    def _ask(self, exchange: Callable[[], T]) -> T:
        """Exchange something, with errors that say what became of the others.

        Raises:
            ArgumentError: A callback asks for it, and the others do not; they would wait.
            ProcessError: Another process has failed, ended, or does not answer.
        """
        import torch

        if text := _ALONE.get():
            raise ArgumentError(
                f"{text}, got an exchange with the others, as a fit or an evaluation of a trainer "
                "with `distributed=True` needs; `cnnzoo.metrics.evaluate(trainer.model, ...)` "
                "evaluates in one process"
            )
        if (called := _CALLED.get()) is not None:
            name, several = called
            several.meet(asker=name)
        try:
            return exchange()
        except (torch.OutOfMemoryError, ProcessError):
            raise
        except RuntimeError as error:
            reason = None if self._group is None else self._group.reason()
            at = f"process {self.place} of {self.count}"
            self.failure = f"{at}: {ended(str(error), reason)}"
        # Outside of the handler: the traceback there would keep the group alive, and so the
        # connections to processes that wait for this one.
        raise ProcessError(self.failure)


@contextmanager
def alone(name: str, reason: str) -> Iterator[None]:
    """Refuse exchanges while a callback runs in which the other processes take no part."""
    text = f"{name}: expected nothing that all processes do together, since {reason}"
    before = _ALONE.set(text)
    try:
        yield
    finally:
        _ALONE.reset(before)


@contextmanager
def called(name: str, processes: Processes) -> Iterator[None]:
    """Let the processes meet before each exchange while a callback runs that all may call."""
    before = _CALLED.set((name, processes))
    try:
        yield
    finally:
        _CALLED.reset(before)


@contextmanager
def together(processes: Processes | None) -> Iterator[ExitStack]:
    """A stack of contexts that end before the processes part; of one process, a stack alone."""
    with nullcontext() if processes is None else processes.together(), ExitStack() as stack:
        yield stack


def joined(device: str, distributed: bool, sync_batch_norm: bool) -> Processes | None:
    """The processes that train together; None where this one trains alone.

    Raises:
        ArgumentError: The options are no booleans or do not fit, or nothing has started several
            processes.
    """
    instance("`distributed`", distributed, bool, "True or False")
    instance("`sync_batch_norm`", sync_batch_norm, bool, "True or False")
    if sync_batch_norm and not distributed:
        raise ArgumentError("`sync_batch_norm`: expected it with `distributed=True` alone")
    return Processes(device, norms=sync_batch_norm) if distributed else None
