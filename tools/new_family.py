"""Writes the skeleton of a family of architectures, which compiles, and enters it in the list.

    python tools/new_family.py shufflenet --title ShuffleNet --source torchvision

writes src/families/shufflenet.rs and adds the family to src/families/mod.rs. What has to be written
is marked TODO. The file is a copy of src/families/template.rs, which `cargo test` compiles.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEYWORDS = (
    "abstract|as|async|await|become|box|break|const|continue|crate|do|dyn|else|enum|extern|false|"
    "final|fn|for|gen|if|impl|in|let|loop|macro|match|mod|move|mut|override|priv|pub|ref|return|"
    "self|static|std|struct|super|trait|true|try|type|typeof|unsafe|unsized|use|virtual|where|"
    "while|yield"
)
SOURCES = {"torchvision": "Torchvision", "timm": "Timm", "keras": "Keras", "paper": "Paper"}


def skeleton(template: str, name: str, *, title: str, source: str) -> str:
    """The family's file, with the names of the template replaced."""
    replaced = {"TEMPLATE": name.upper(), "Template": title, "template": name}
    replaced |= {
        "TORCHVISION": source.upper(),
        "Torchvision": SOURCES[source],
        "torchvision": source,
    }
    return re.sub("|".join(replaced), lambda match: replaced[match[0]], template)


def entered(families: str, name: str) -> str:
    """The list of families with this one: its module in order, its variants at the end."""

    def with_this(match: re.Match[str]) -> str:
        return "".join(sorted([*match[0].splitlines(keepends=True), f"mod {name};\n"]))

    families = re.sub(r"(?:^mod \w+;\n)+", with_this, families, count=1, flags=re.MULTILINE)
    indent = " " * 8
    return families.replace(
        f"\n{indent}.collect()\n}});",
        f"\n{indent}.chain({name}::variants())\n{indent}.collect()\n}});",
        1,
    )


def main() -> int:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", help="name of the module, for instance shufflenet")
    parser.add_argument("--title", help="name of the family, for instance ShuffleNet")
    parser.add_argument("--source", choices=SOURCES, default="torchvision", help="who has it")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository")
    args = parser.parse_args()
    folder: Path = args.root / "src" / "families"
    new, families = folder / f"{args.name}.rs", folder / "mod.rs"
    if not re.fullmatch("[a-z][a-z0-9_]*", args.name):
        parser.error(f"name: expected lower-case letters, digits and _, got {args.name}")
    if re.fullmatch(KEYWORDS, args.name):
        parser.error(f"name: expected one that is no keyword of Rust, got {args.name}")
    if args.title is not None and not re.fullmatch(r"\w[\w .+-]*", args.title):
        parser.error(f"--title: expected words, got {args.title!r}")
    if new.exists() or new.with_suffix("").exists():
        parser.error(f"name: expected one that is free, got {args.name}, which src/families has")
    template = (folder / "template.rs").read_text()
    title = args.title or args.name.capitalize()
    new.write_text(skeleton(template, args.name, title=title, source=args.source))
    families.write_text(entered(families.read_text(), args.name))
    if rustfmt := shutil.which("rustfmt"):
        subprocess.run(
            [rustfmt, "--edition", "2024", "--config-path", str(ROOT), str(new)], check=True
        )
    sys.stdout.write(f"{new}: write what is marked TODO; CONTRIBUTING.md says what follows\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
