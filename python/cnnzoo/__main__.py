"""`python -m cnnzoo` is the command `cnnzoo`."""

from __future__ import annotations

import sys

from cnnzoo_command import main

if __name__ == "__main__":
    sys.exit(main())
