"""The order of Python's packages, as the table of ARCHITECTURE.md has it: who may import whom."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "python"

# The extensions, whose source is Rust's.
STUBS = {"cnnzoo._native", "cnnzoo._torch", "cnnzoo._constructors"}


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    name: str
    modules: frozenset[str]
    imports: frozenset[str]
    annotations: frozenset[str]


@dataclass(frozen=True)
class Import:
    """A module of ours that another one imports, and the name that it takes from it."""

    module: str
    name: str
    line: int
    annotation: bool


@functools.cache
def table() -> dict[str, Row]:
    """The rows by their names."""
    lines = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("| row |"))
    rows = {}
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        name, modules, _, imports, annotations = (cell.strip() for cell in line.split("|")[1:-1])
        places = re.findall(r"`([^`]+)`", modules)
        rows[name] = Row(name, frozenset(places), listed(imports), listed(annotations))
    return rows


def listed(cell: str) -> frozenset[str]:
    return frozenset() if cell == "-" else frozenset(cell.split(", "))


def files() -> dict[str, Path]:
    """Every file of ours by its module, the stubs of what is not Python among them."""
    found = {}
    for path in sorted(SOURCES.glob("cnnzoo*/**/*.py*")):
        if path.suffix in {".py", ".pyi"}:
            parts = path.relative_to(SOURCES).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = files()


def place(module: str) -> str:
    """The name of its top in the table: `data/`, `errors.py`."""
    package, _, below = module.partition(".")
    if package != "cnnzoo":
        return f"{package}/{below or '__init__'}.py"
    top = below.partition(".")[0]
    if not top:
        return "__init__.py"
    folder = (SOURCES / "cnnzoo" / top).is_dir()
    return f"{top}/" if folder else f"{top}.pyi" if f"cnnzoo.{top}" in STUBS else f"{top}.py"


def imports(source: str, module: str) -> Iterator[Import]:
    """The imports of our modules, wherever in the source."""
    is_package = MODULES[module].stem == "__init__"
    tree = ast.parse(source)
    checked = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for body in node.body
        for inner in ast.walk(body)
    }
    for node in ast.walk(tree):
        found: list[tuple[str, str]] = []
        if isinstance(node, ast.Import):
            found = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            home = node.module or ""
            if node.level:
                above = module.split(".")[: None if is_package and node.level == 1 else -node.level]
                above = above if not is_package else module.split(".")[: 1 - node.level or None]
                home = ".".join([*above, home]).strip(".")
            found = [(home, alias.name) for alias in node.names]
        elif isinstance(node, ast.Attribute | ast.Name) and "import_module" in vars(node).values():
            # Which one is not known.
            found = [("cnnzoo", "")]
        for home, name in found:
            if home.partition(".")[0] in {"cnnzoo", "cnnzoo_command"}:
                inner = f"{home}.{name}"
                whole = (inner, "") if inner in MODULES else (home, name)
                line = getattr(node, "lineno", 0)
                yield Import(*whole, line, node in checked)


def violations(source: str, module: str) -> list[str]:
    """The imports that the table and the rule of names do not allow."""
    rows = table()
    by_place = {place: row for row in rows.values() for place in row.modules}
    row = by_place[place(module)]
    found = []
    for one in imports(source, module):
        at = f"{module}:{one.line}: `{row.name}`"
        there = by_place.get(place(one.module))
        allowed = row.imports | (row.annotations if one.annotation else set()) | {row.name}
        if there is None:
            found.append(f"{at} imports {one.module}, which has no row")
        elif there.name not in allowed and "all" not in allowed:
            found.append(f"{at} imports `{there.name}` ({one.module})")
        home, _, last = one.module.rpartition(".")
        own = module == home or module.startswith(f"{home}.")
        if last.startswith("_") and not own:
            found.append(f"{at} imports {one.module}, which is private to {home}")
        if one.name.startswith("_") and not one.name.startswith("__"):
            found.append(f"{at} imports {one.name}, which is private to {one.module}")
    return found


# The one package or module that imports the package of an extra.
INTEGRATIONS = {
    "huggingface_hub": "cnnzoo.weights.repository",
    "mlflow": "cnnzoo.training.mlflow",
    "ray": "cnnzoo.ray",
    "sklearn": "cnnzoo.sklearn",
    "wandb": "cnnzoo.training.wandb",
}
# Files are written for these without them.
NOWHERE = {"onnx", "onnxruntime", "pyspark", "dask", "filelock"}


def test_an_extra_is_imported_by_its_integration_alone() -> None:
    homes: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in names:
                homes.setdefault(name.partition(".")[0], set()).add(module)
    assert not NOWHERE & homes.keys()
    for name, home in INTEGRATIONS.items():
        assert {one for one in homes[name] if f"{one}.".startswith(f"{home}.")} == homes[name], name


@pytest.mark.parametrize("module", [name for name in MODULES if name not in STUBS])
def test_each_import_is_allowed(module: str) -> None:
    assert violations(MODULES[module].read_text(encoding="utf-8"), module) == []


def test_each_module_has_a_row_and_each_row_its_modules() -> None:
    named = [place for row in table().values() for place in row.modules]
    assert len(named) == len(set(named)), "a module in two rows"
    assert set(named) == {place(module) for module in MODULES}
    rows = table()
    for row in rows.values():
        assert row.imports | row.annotations <= set(rows), f"`{row.name}` may import no such row"


def test_rows_and_modules_are_in_no_circle() -> None:
    rows = table()
    order = {row.name: row.imports for row in rows.values() if "all" not in row.imports}
    list(TopologicalSorter(order).static_order())
    list(TopologicalSorter(graph()).static_order())


def graph() -> dict[str, set[str]]:
    """The modules that each one imports; what the table allows in annotations does not count."""
    by_place = {place: row for row in table().values() for place in row.modules}
    found: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        if module not in STUBS:
            annotations = by_place[place(module)].annotations
            found[module] = {
                one.module
                for one in imports(path.read_text(encoding="utf-8"), module)
                if one.module != module
                and not (one.annotation and by_place[place(one.module)].name in annotations)
            }
    return found


PACKAGES = [name for name, path in MODULES.items() if path.stem == "__init__" and "." in name]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_lists_what_is_public(package: str) -> None:
    tree = ast.parse(MODULES[package].read_text(encoding="utf-8"))
    # Those that are imported with their first use stand there for type checkers.
    late = [
        inner
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "typing.TYPE_CHECKING"
        for inner in node.body
    ]
    found = {
        alias.name
        for node in (*tree.body, *late)
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    (public,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    assert set(public) == found
    assert not [name for name in public if name.startswith("_")]


# Imports that are wrong, and what is said of them.
PLANTED = [
    ("cnnzoo.data.loader", "from cnnzoo.model import Model", "imports `model`"),
    ("cnnzoo.data.loader", "from cnnzoo import model", "imports `model`"),
    ("cnnzoo.data.loader", "import cnnzoo.model.model", "imports `model`"),
    ("cnnzoo.data.loader", "from ..model import Model", "imports `model`"),
    ("cnnzoo.data", "from ..model import Model", "imports `model`"),
    ("cnnzoo.data", "from .. import training", "imports `training`"),
    ("cnnzoo.data.loader", "def f():\n    from cnnzoo import hub", "imports `paths`"),
    ("cnnzoo.data.loader", "import cnnzoo", "imports `all`"),
    ("cnnzoo.data.loader", "import importlib\nimportlib.import_module(name)", "imports `all`"),
    (
        "cnnzoo.data.loader",
        "if TYPE_CHECKING:\n    from cnnzoo.model import Model",
        "imports `model`",
    ),
    ("cnnzoo.model.model", "from cnnzoo.training import Trainer", "imports `training`"),
    ("cnnzoo.weights.hub", "from cnnzoo.callbacks import Callback", "imports `paths`"),
    ("cnnzoo_command.arguments", "from cnnzoo.errors import Notice", "imports `base`"),
    ("cnnzoo.training.trainer", "from cnnzoo.model._files import Filling", "is private"),
    ("cnnzoo.training.trainer", "from cnnzoo.model import _files", "is private"),
    ("cnnzoo.training.trainer", "from cnnzoo.model.predict import _items", "is private"),
]


@pytest.mark.parametrize(("module", "source", "said"), PLANTED)
def test_planted_imports_are_found(module: str, source: str, said: str) -> None:
    (found,) = violations(source, module)
    assert said in found


def test_a_planted_circle_is_found() -> None:
    circle = graph()
    circle["cnnzoo.training.history"] |= {"cnnzoo.training.trainer"}
    with pytest.raises(CycleError):
        list(TopologicalSorter(circle).static_order())


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cnnzoo.data.loader", "from cnnzoo.data.dataset import Dataset\nimport numpy"),
        ("cnnzoo.data.loader", "from .dataset import Dataset\nfrom . import photos"),
        ("cnnzoo.data", "from .dataset import Dataset"),
        ("cnnzoo.model.model", "if TYPE_CHECKING:\n    from cnnzoo.training import Trainer"),
        ("cnnzoo.training.trainer", "from cnnzoo import _native, data\nfrom . import _batches"),
    ],
)
def test_what_the_table_allows_is_no_violation(module: str, source: str) -> None:
    assert violations(source, module) == []
