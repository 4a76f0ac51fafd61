"""Writes the stub of the model functions for type checkers; with --check, compares it.

At run time `cnnzoo.resnet50` is made on first access, which no type checker can follow.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cnnzoo.registry import accepted_names

STUB = Path(__file__).parents[1] / "python" / "cnnzoo" / "_constructors.pyi"
HEAD = '''"""Every model as a function, for type checkers: written by tools/constructors.py."""

from cnnzoo.registry import Constructor

'''


def text() -> str:
    """The expected text of the stub."""
    names = sorted(name for name in accepted_names() if name.isidentifier())
    return HEAD + "".join(f"{name}: Constructor\n" for name in names)


def main() -> int:
    """Write the stub, or compare it."""
    if "--check" not in sys.argv:
        STUB.write_text(text())
        return 0
    if STUB.read_text() != text():
        sys.stderr.write(f"{STUB.name}: out of date; run `make docs`\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
