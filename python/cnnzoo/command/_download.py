"""The command `cnnzoo download`: published weights into the cache."""

from __future__ import annotations

import argparse
from typing import Any

from cnnzoo._text import Out
from cnnzoo.command._commands import complain, print_json
from cnnzoo.command._models import refuse_file
from cnnzoo.errors import CnnzooError, WeightsError
from cnnzoo.weights.published import Published, choose_weights


def download(args: argparse.Namespace, out: Out, err: Out) -> int:
    """Fetch the weights of each model; the status is 1 if some could not be."""
    found: list[dict[str, Any]] = []
    failures = 0
    for name in args.models:
        try:
            one = _fetched(name, args.source, args.weights)
        except CnnzooError as error:
            failures += 1
            complain(err, error)
            found.append({"model": name, "error": str(error)})
            continue
        found.append(one)
        if not args.json:
            how = "was there" if one["was_here"] else "downloaded"
            checked = f"{one['hash'].partition(':')[0]} checked" if one["hash"] else "no known hash"
            size = f"{one['bytes'] / 1e6:.1f} MB"
            out.print(f"{name}  {one['weights']}  {size}  {how}, {checked}", cut=False)
            out.print(f"  {one['path']}", cut=False)
            out.flush()
    if args.json:
        print_json(out, found)
    return 1 if failures else 0


def _fetched(name: str, source: str | None, tag: str) -> dict[str, Any]:
    refuse_file(name, ", which has its own weights")
    published = choose_weights(name, source, tag)
    if published is None:
        raise WeightsError(f"--weights: expected a tag of published weights, got the file {tag}")
    was_here = published.is_here
    path = published.path()
    return {
        "model": name,
        "weights": published.tag,
        "path": str(path),
        "bytes": path.stat().st_size,
        "was_here": was_here,
        "hash": published.hash or _hash_of_hub(published, path.resolve().name),
        "license": published.license,
    }


def _hash_of_hub(published: Published, name: str) -> str:
    """The hash that the hub states: large files are named by their sha256 in its cache."""
    is_sha256 = len(name) == len("0" * 64) and set(name) <= set("0123456789abcdef")
    return f"sha256:{name}" if "://" not in published.address and is_sha256 else ""
