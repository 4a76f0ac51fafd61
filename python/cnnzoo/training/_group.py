"""A group of `torch.distributed` for one fit, and the last words of a process that leaves it."""

from __future__ import annotations

from typing import Any

from cnnzoo._text import one_line
from cnnzoo.errors import ProcessError

# The most characters of another process's error that are told.
MOST_TOLD = 1000


class Group:
    """A group of all processes for one fit.

    A process that fails writes its error into the store that all share, and closes its connections:
    gloo's collectives end with an error in the others, which then read it. The default group stays
    whole, so that they may fit again. NCCL has no such error: there it is the default group, whose
    watchdog ends the processes after the group's timeout.

    Attributes:
        inner: The group; None for the default one.
    """

    def __init__(self, place: int, device: str) -> None:
        import torch
        import torch.distributed as group

        self._place = place
        self.inner: Any = None
        if group.get_backend() == "gloo":
            whole: Any = group.group.WORLD
            # `new_group` does not take over the time limit of the default group.
            options = whole._get_backend(torch.device(device)).options
            self.inner = group.new_group(timeout=options._timeout)

    def fail(self, error: BaseException) -> None:
        """Tell the others of an error of this process's own."""
        if self.inner is None or isinstance(error, ProcessError):
            return
        told = one_line(str(error))[:MOST_TOLD]
        text = f"process {self._place} has ended with {type(error).__name__}: {told}"
        try:
            self._store().compare_set(self._key, "", text)
        except RuntimeError:  # the process that has the store may be gone
            return

    def reason(self) -> str | None:
        """The error of the process that failed first; None where none was told."""
        if self.inner is None:
            return None
        try:
            store = self._store()
            return store.get(self._key).decode() if store.check([self._key]) else None
        except RuntimeError:
            return None

    def leave(self) -> None:
        """Close the connections of this process."""
        import torch.distributed as group

        # A callback may have ended `torch.distributed` altogether.
        if self.inner is not None and group.is_initialized():
            group.destroy_process_group(self.inner)
        self.inner = None

    @property
    def _key(self) -> str:
        return f"cnnzoo/{self.inner.group_name}/failed"

    def _store(self) -> Any:
        from torch.distributed.distributed_c10d import _get_default_store

        return _get_default_store()


def ended(error: str, reason: str | None) -> str:
    """The message of an exchange that ended with an error of PyTorch."""
    expected = "expected every process of the run to go on"
    if reason is not None:
        return f"{expected}, but {reason}"
    # What gloo adds is no help: a guess that a worker crashed.
    text = one_line(error).partition(". This is typically")[0]
    if any(word in text.lower() for word in ("timed out", "timeout")):
        return (
            f"{expected}, got no answer from another one ({text}): it is stuck, has not made the "
            "call that this one is in, or is slower than the time limit, which "
            "torch.distributed.init_process_group(timeout=...) sets"
        )
    return f"{expected}, got one that has ended; its own error says why ({text})"
