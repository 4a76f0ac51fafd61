"""The script of docs/how-to/distributed.md, as torchrun starts it."""

from __future__ import annotations

from pathlib import Path

import examples
from several_processes import torchrun

PAGE = examples.ROOT / "docs" / "how-to" / "distributed.md"


def test_the_script_of_the_guide_trains_and_resumes(tmp_path: Path) -> None:
    examples.write_pictures(tmp_path / "pictures")
    blocks = [one.code for one in examples.examples(PAGE) if one.skipped is not None]
    script, callbacks, limit, resumed = blocks
    # A network and a run that take seconds, and the callbacks that the guide shows.
    for old, new in (
        ('"resnet50"', '"resnet20"'),
        ("epochs=20", "epochs=2"),
        ("\nmodel =", f"\ntest = cz.data.Loader(checks, batch_size=2)\n{callbacks}\nmodel ="),
        ('checkpoint="run",', 'checkpoint="run", callbacks=[Tested(), TestedByOne()],'),
    ):
        assert script.count(old) == 1
        script = script.replace(old, new)
    (tmp_path / "train.py").write_text(f"import datetime\nimport torch\n{limit}\n{script}")
    out = torchrun("train.py", cwd=tmp_path)
    # Each of the two callbacks prints in the first process alone.
    assert [line.split()[0] for line in out.splitlines()] == ["1", "1", "2", "2"]

    before, _, after = script.partition("trainer = ")
    loaders = after[after.index("    cz.data.Loader(train") : after.index("    epochs=")]
    (tmp_path / "resume.py").write_text(
        f"{before}\ntrain_loader, check_loader = (\n{loaders})\n{resumed}\n"
        "print(len(trainer.history))\n"
    )
    assert torchrun("resume.py", cwd=tmp_path).split() == ["2", "2"]
