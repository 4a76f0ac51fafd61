"""Puts Fashion-MNIST into a folder of its own, for the notebooks' tests: `make data` runs this.

    python tools/fashion_mnist.py .venv/data      # which CNNZOO_DATA names afterwards

Files that are on this machine already are linked. If there are none, Debian's package
dataset-fashion-mnist is downloaded and unpacked, not installed: that needs no root. Where there
is no apt, the authors' files are downloaded by cnnzoo.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAME, PACKAGE = "fashion-mnist", "dataset-fashion-mnist"
DEBIAN = Path("/usr/share/datasets")
FILES = [
    f"{part}-{kind}-ubyte.gz"
    for part in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
]


def candidates() -> list[Path]:
    """Folders in which cnnzoo or Debian keep data sets."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    named = os.environ.get("CNNZOO_DATA")
    return [*([Path(named).expanduser()] if named else []), DEBIAN, cache / "cnnzoo" / "data"]


def is_complete(folder: Path) -> bool:
    """Whether all four files are there."""
    return all((folder / name).is_file() for name in FILES)


def from_apt(folder: Path) -> None:
    """Download and unpack Debian's package; apt checks its signature.

    Raises:
        OSError: There is no apt.
        subprocess.CalledProcessError: It does not find or get the package.
    """
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        options = ["-q", "-o", "APT::Sandbox::User=root"]
        try:
            run("apt-get", *options, "download", PACKAGE, cwd=scratch)
        except subprocess.CalledProcessError:
            # Images of containers lack lists of packages, and only root may write the machine's.
            for part in ("lists", "cache"):
                (scratch / part).mkdir()
            options += ["-o", f"Dir::State::Lists={scratch}/lists"]
            options += ["-o", f"Dir::Cache={scratch}/cache"]
            run("apt-get", *options, "update", cwd=scratch)
            run("apt-get", *options, "download", PACKAGE, cwd=scratch)
        (package,) = scratch.glob("*.deb")
        run("dpkg-deb", "--extract", str(package), str(scratch / "unpacked"), cwd=scratch)
        unpacked = scratch / "unpacked" / DEBIAN.relative_to("/") / NAME
        # Whole or not at all: an interrupted copy has another name.
        copy = folder.with_name(f"{NAME}.part")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(unpacked, copy)
        copy.rename(folder)


def run(*command: str, cwd: Path) -> None:
    """Run a command, whose output goes where errors go."""
    subprocess.run(command, cwd=cwd, check=True, stdout=sys.stderr)


def from_the_web(folder: Path) -> None:
    """Let cnnzoo download the authors' files and check their hashes."""
    import cnnzoo as cz

    for train in (True, False):
        cz.data.fashion_mnist(folder, train=train)


def main(root: Path) -> None:
    """Put the four files below `root`."""
    folder = root / NAME
    if is_complete(folder):
        return
    root.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink():  # to a place that is gone
        folder.unlink()
    for place in candidates():
        if is_complete(place / NAME):
            folder.symlink_to((place / NAME).resolve(), target_is_directory=True)
            return
    failures = []
    for way in (from_apt, from_the_web):
        try:
            way(folder)
        except (OSError, subprocess.CalledProcessError) as error:
            failures.append(f"  {way.__name__}: {error}")
        else:
            return
    sys.exit(
        f"Fashion-MNIST cannot be fetched:\n{os.linesep.join(failures)}\n"
        f"Install Debian's package {PACKAGE}, or put its files into {folder}: {', '.join(FILES)}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
