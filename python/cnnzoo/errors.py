"""The exceptions that cnnzoo raises; each is also the builtin exception that a caller would catch.

The fields of an error (`expected`, `got`, `node`, `path`, ...) are attributes of the exception.
"""

from __future__ import annotations

from typing import Any


class CnnzooError(Exception):
    """The base class of all others."""

    def __reduce__(self) -> tuple[Any, ...]:
        """The state that is copied and pickled: the message and the fields, `errno` too."""
        fields = dict(vars(self))
        if isinstance(self, OSError):
            fields["errno"] = self.errno
        return type(self), self.args, fields


class ArgumentError(CnnzooError, ValueError):
    """An option that a model does not have, or a value that it cannot take."""


class UnknownModelError(CnnzooError, KeyError):
    """An unknown name; `closest` lists the most similar names."""

    def __str__(self) -> str:
        """The message itself, which KeyError would put in quotes."""
        is_file = str(getattr(self, "name", "")).endswith(".safetensors")
        hint = "; `cnnzoo.load(file)` opens a model file, `weights=file` begins with its weights"
        return f"{self.args[0]}{hint if is_file else ''}"


class GraphError(CnnzooError, ValueError):
    """A graph, or its text, that breaks a rule."""


class ShapeError(CnnzooError, ValueError):
    """An array whose shape does not fit where it goes."""


class WeightsError(CnnzooError, ValueError):
    """Weights that are damaged, refused, or for another model."""


class WeightsFileError(WeightsError, OSError):
    """A weights file that cannot be opened, read or written."""


class WeightsFileNotFoundError(WeightsFileError, FileNotFoundError):
    """A weights file that does not exist."""


class DataError(CnnzooError, ValueError):
    """A photograph that does not decode, or a data set that is damaged or cannot be downloaded."""


class PhotoFileError(DataError, OSError):
    """A photograph or file of a data set that cannot be opened, read or written."""


class PhotoNotFoundError(PhotoFileError, FileNotFoundError):
    """A photograph or file of a data set that does not exist."""


class MissingPackageError(CnnzooError, ImportError):
    """An optional package that is not installed; the message says how to install it."""


class DeviceError(CnnzooError, RuntimeError):
    """A device that is not available."""


class OutOfMemoryError(DeviceError, MemoryError):
    """A device without enough free memory."""


class CheckpointError(CnnzooError, ValueError):
    """A run checkpoint that is damaged or of another run."""


class CheckpointFileError(CheckpointError, OSError):
    """A run checkpoint that cannot be opened, read or written."""


class CheckpointNotFoundError(CheckpointFileError, FileNotFoundError):
    """A run checkpoint that does not exist."""


class TuningError(CnnzooError, ValueError):
    """A tuning file that is damaged or names algorithms that there are not."""


class TuningFileError(TuningError, OSError):
    """A tuning file that cannot be opened, read or written."""


class TuningFileNotFoundError(TuningFileError, FileNotFoundError):
    """A tuning file that does not exist."""


class CopyError(CnnzooError, TypeError):
    """An object that cannot be copied or pickled while it is in use."""


class LogError(CnnzooError, OSError):
    """A training log that cannot be opened, read or written."""


class DivergenceError(CnnzooError, ArithmeticError):
    """A loss, a parameter or a network's output that became infinite or NaN."""


class ProcessError(CnnzooError, RuntimeError):
    """Another process of a distributed run that failed, ended, or does not answer."""


class Notice(UserWarning):
    """A warning of what would surprise if done silently: other names, another preprocessing."""
