"""Pages of the reference: the public names of each package, and the command's help."""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import pkgutil
import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import FunctionType

import cnnzoo as cz
from cnnzoo_command.arguments import parser


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of the reference.

    Attributes:
        name: The name of the page.
        title: Its title.
        about: A sentence below the title.
        module: The module whose public names it describes.
        names: These names, where they are not all of the module.
    """

    name: str
    title: str
    about: str = ""
    module: str = "cnnzoo"
    names: tuple[str, ...] = ()


MODELS = [
    *("create_model", "load", "from_pretrained", "Model", "StepResult", "Preprocess"),
    *("Prediction", "Guess", "FailedPrediction"),
    *("Graph", "Summary", "SummaryPart", "SummaryRow"),
]
REGISTRY = ["list_models", "model_info", "ModelInfo"]
REGISTRY += ["compound_scaling", "published_scaling", "Scaling"]
INFERENCE = ["get_num_threads", "set_num_threads", "Profile", "ProfileStep"]
INFERENCE += ["Tuning", "TunedLayer", "Quantization", "QuantizedLayer"]
CALLBACKS = "cnnzoo.callbacks"
PAGES = (
    Page(
        name="models",
        title="Models",
        about="Build, load, run, change, train and save a network.",
        names=tuple(MODELS),
    ),
    Page(
        name="registry",
        title="Registry",
        about="Find networks, and scale them.",
        names=tuple(REGISTRY),
    ),
    Page(
        name="inference",
        title="Inference: plans, profiles, tuning, quantization",
        about="Results of `Model.profile`, `Model.optimize` and `Model.quantize`, and the number "
        "of threads. `Model.plan` returns text.",
        names=tuple(INFERENCE),
    ),
    Page(name="weights", title="Weights", module="cnnzoo.weights"),
    Page(name="data", title="Data", module="cnnzoo.data"),
    Page(name="transforms", title="Transforms", module="cnnzoo.transforms"),
    Page(name="training", title="Training", module="cnnzoo.training"),
    Page(name="callbacks", title="Callbacks", module=CALLBACKS),
    Page(name="explain", title="Explanations", module="cnnzoo.explain"),
    Page(name="analysis", title="Analysis", module="cnnzoo.analysis"),
    Page(name="gradients", title="Gradients", names=("Gradients", "NodeGradient")),
    Page(name="comparison", title="Comparison", module="cnnzoo.comparison"),
    Page(name="diagram", title="Diagrams", module="cnnzoo.diagram"),
    Page(name="errors", title="Errors", module="cnnzoo.errors"),
)
# Blocks of code, which stay as they are, or a name in running text, with or without arguments.
NAMED = re.compile(r"(?ms)^```.*?^```|(?<!\[)`([\w.]+)(?:\([^`]*\))?`(?!\])")
# Other import paths of names that have a page, and what only the command uses.
PATHS = {"cli", "command", "history", "hub", "losses", "metrics", "mixing", "model", "multilabel"}
PATHS |= {"optimizers", "racing", "schedules", "summary", "trainer"}


def public(module: str) -> tuple[str, ...]:
    """The public names of a module."""
    loaded = importlib.import_module(module)
    if hasattr(loaded, "__all__"):
        return tuple(loaded.__all__)
    return tuple(
        name
        for name, value in vars(loaded).items()
        if isinstance(value, type) and value.__module__ == module and not name.startswith("_")
    )


def pages() -> tuple[Page, ...]:
    """The pages above, and one for each public package that they do not name."""
    known = {page.module.removeprefix("cnnzoo.") for page in PAGES} | PATHS
    found = []
    for module in pkgutil.iter_modules(cz.__path__, "cnnzoo."):
        name = module.name.removeprefix("cnnzoo.")
        if not name.startswith("_") and name not in known and is_package(module.name):
            found.append(Page(name=name, title=f"`{module.name}`", module=module.name))
    return (*PAGES, *found)


def is_package(module: str) -> bool:
    """Whether a module lists its public names; the others are parts of some package."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return False
    with open(spec.origin, encoding="utf-8") as file:
        return "\n__all__ = " in file.read()


def text(page: Page) -> str:
    """The page in Markdown, whose `:::` lines mkdocstrings replaces by what docstrings say."""
    names = page.names or public(page.module)
    if page.module == "cnnzoo.training":
        names = tuple(name for name in names if name not in public(CALLBACKS))
    parts = [f"# {page.title}\n"]
    if page.names:
        parts.append(f"{page.about}\n")
    else:
        parts.append(
            f"::: {page.module}\n    options:\n      members: false\n"
            "      show_root_heading: false\n      show_root_toc_entry: false\n"
        )
    values = {name: getattr(importlib.import_module(page.module), name) for name in names}
    parts += [
        f"::: {page.module}.{name}\n"
        for name, value in values.items()
        if not isinstance(value, tuple)
    ]
    constants = [
        f"- `{name} = {value}`" for name, value in values.items() if isinstance(value, tuple)
    ]
    if constants:
        parts += ["## Constants\n", *constants]
    return "\n".join(parts)


def described() -> set[str]:
    """The names below `cnnzoo` that the pages describe."""
    return {name for page in pages() for name in page.names or public(page.module)}


@functools.cache
def identifiers() -> dict[str, str]:
    """The identifier in the reference of each name, as texts write it: `cz.Trainer`, `Trainer`."""
    found: dict[str, str] = {}
    for page in pages():
        for name in page.names or public(page.module):
            value = getattr(importlib.import_module(page.module), name)
            if isinstance(value, type | FunctionType):
                found.setdefault(f"cz.{name}", f"{page.module}.{name}")
                found[f"{page.module.replace('cnnzoo', 'cz')}.{name}"] = f"{page.module}.{name}"
            if isinstance(value, type):
                found.setdefault(name, f"{page.module}.{name}")
                members = {member for member in dir(value) if not member.startswith("_")}
                for member in members - set(dir(tuple)) - set(dir(Exception)):
                    found.setdefault(f"{name}.{member}", f"{page.module}.{name}.{member}")
    return found


def linked(text: str) -> str:
    """The text of a page, in which code that names something public leads to the reference."""

    def one(match: re.Match[str]) -> str:
        identifier = identifiers().get(match[1] or "")
        return f"[{match[0]}][{identifier}]" if identifier else match[0]

    return NAMED.sub(one, text)


def command_line() -> str:
    """The help of each command, as it prints it in a terminal of 88 columns."""
    os.environ["COLUMNS"] = "88"
    whole = parser()
    commands = next(
        action for action in whole._actions if isinstance(action, argparse._SubParsersAction)
    )
    parts = ["# Command line\n", fenced(whole.format_help().splitlines())]
    for name, command in commands.choices.items():
        parts += [f"\n## cnnzoo {name}\n", fenced(command.format_help().splitlines())]
    return "\n".join(parts)


def fenced(lines: Iterable[str]) -> str:
    """A block of text."""
    return "\n".join(["```text", *(line.rstrip() for line in lines), "```"])
