"""Every exception that cnnzoo raises on purpose, each also the builtin that a caller would catch.

The fields of an error (`expected`, `got`, `node`, `path`, ...) are attributes of the exception.
"""

from __future__ import annotations

from typing import Any


class CnnzooError(Exception):
    """The root of all others."""

    def __reduce__(self) -> tuple[Any, ...]:
        """What is copied and pickled: the message and the fields, `errno` too."""
        fields = dict(vars(self))
        if isinstance(self, OSError):
            fields["errno"] = self.errno
        return type(self), self.args, fields


class ArgumentError(CnnzooError, ValueError):
    """An option that a model does not have, or a value that it cannot take."""


class UnknownModelError(CnnzooError, KeyError):
    """A name that is in no table; `closest` lists the names most like it."""

    def __str__(self) -> str:
        """The message itself, which KeyError would put in quotes."""
        return str(self.args[0])


class GraphError(CnnzooError, ValueError):
    """A graph, or its text, that breaks a rule."""


class ShapeError(CnnzooError, ValueError):
    """An array whose shape does not fit where it goes."""


class WeightsError(CnnzooError, ValueError):
    """Weights that are damaged, refused, or of another model."""


class WeightsFileError(WeightsError, OSError):
    """A weights file that cannot be opened, read or written."""


class WeightsFileNotFoundError(WeightsFileError, FileNotFoundError):
    """A weights file that is not there."""


class DataError(CnnzooError, ValueError):
    """A photograph that does not decode."""


class PhotoFileError(DataError, OSError):
    """A photograph that cannot be opened, read or written."""


class PhotoNotFoundError(PhotoFileError, FileNotFoundError):
    """A photograph that is not there."""


class MissingPackageError(CnnzooError, ImportError):
    """An optional package that is not installed; the message says how to install it."""


class DeviceError(CnnzooError, RuntimeError):
    """A device that is not there."""


class OutOfMemoryError(DeviceError, MemoryError):
    """A device without enough free memory."""


class CheckpointError(CnnzooError, ValueError):
    """A training checkpoint that is damaged or of another run."""


class CheckpointFileError(CheckpointError, OSError):
    """A training checkpoint that cannot be opened, read or written."""


class CheckpointNotFoundError(CheckpointFileError, FileNotFoundError):
    """A training checkpoint that is not there."""


class CopyError(CnnzooError, TypeError):
    """A thing that cannot be copied or pickled while it is at work."""


class LogError(CnnzooError, OSError):
    """A log of training that cannot be opened, read or written."""


class DivergenceError(CnnzooError, ArithmeticError):
    """A loss, a parameter or an answer that became infinite, or no number."""


class Notice(UserWarning):
    """What would surprise if it were done in silence: other names, another preprocessing."""
