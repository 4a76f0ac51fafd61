"""Completion in shells, by running its function in bash; and help of every option."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

import cnnzoo as cz
from cnnzoo_command.arguments import GROUPS, parser
from cnnzoo_command.completion import commands_of
from command_line import Command

COMMANDS = {command.name: command for command in commands_of(parser())}


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cnnzoo_command.completion import bash

    path = tmp_path_factory.mktemp("completion") / "cnnzoo.bash"
    path.write_text(bash(parser(), cz.list_models()) + "\n")
    return path


def completed(script: Path, *words: str, folder: Path | None = None) -> set[str]:
    """The words that bash offers for the last one."""
    given = " ".join(f"'{word}'" for word in ("cnnzoo", *words))
    code = (
        f"source {script}; COMP_WORDS=({given}); COMP_CWORD={len(words)}; _cnnzoo; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", code], capture_output=True, text=True, check=True, cwd=folder
    )
    assert done.stderr == ""
    return set(done.stdout.splitlines()) - {""}


def test_bash_completes_commands(script: Path) -> None:
    assert completed(script, "") == {*COMMANDS, "--help", "--version"}
    assert completed(script, "co") == {"compare", "completion"}
    assert completed(script, "--v") == {"--version"}


@pytest.mark.parametrize("command", COMMANDS)
def test_bash_completes_every_option_of_every_command(script: Path, command: str) -> None:
    [inner] = [
        action.choices[command]
        for action in parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    flags = {flag for action in inner._actions for flag in action.option_strings}
    assert completed(script, command, "-") == flags


def test_bash_completes_values_models_and_files(script: Path, tmp_path: Path) -> None:
    (tmp_path / "resnet_photos").mkdir()
    (tmp_path / "a photograph.png").write_text("")
    resnets = {name for name in cz.list_models() if name.startswith("resnet1")}
    assert completed(script, "info", "resnet1", folder=tmp_path) == resnets
    assert completed(script, "train", "--model", "resnet1", folder=tmp_path) == resnets
    found = completed(script, "evaluate", "--model", "resnet_", folder=tmp_path)
    assert found == {"resnet_photos"}
    assert completed(script, "predict", "a", folder=tmp_path) == {"a photograph.png"}
    assert completed(script, "train", "-o", "", folder=tmp_path) == {
        "a photograph.png", "resnet_photos",
    }  # fmt: skip
    assert completed(script, "train", "--augment", "") == {"none", "light", "strong"}
    assert completed(script, "list", "--source", "t") == {"torchvision", "timm"}
    assert completed(script, "completion", "") == {
        *("bash", "zsh", "fish"),
        *("-h", "--help"),
    }


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(run: Command, shell: str) -> None:
    out, err = run("completion", shell)
    assert err == ""
    for command in COMMANDS.values():
        assert command.name in out
        for option in command.options:
            for flag in option.flags:
                assert flag.lstrip("-") in out
    assert "resnet50" in out
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=out, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_no_such_shell(run: Command) -> None:
    run("completion", "cmd", status=2)


# ---- help


def test_help_has_every_command_in_one_group(run: Command) -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(COMMANDS)
    out = run("--help")[0]
    assert all(f"\n{title}:\n" in out for title in GROUPS)
    for name, command in COMMANDS.items():
        summary = command.summary[0].lower() + command.summary[1:]
        assert f"  {name:<12}{summary}\n" in out
    assert max(map(len, out.splitlines())) <= 100


NEW = ("train", "evaluate", "embed", "download", "quantize", "completion")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_option_names_its_default(command: str) -> None:
    [inner] = [
        action.choices[command]
        for action in parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    for action in inner._actions:
        assert action.help, action.dest
        has_one = action.default not in (None, False, argparse.SUPPRESS)
        flags = [flag for flag in action.option_strings if flag != "-h"]
        if flags and flags != ["--help"] and (has_one or command in NEW):
            assert "default" in action.help or "(required)" in action.help, (command, flags)


@pytest.mark.parametrize("command", NEW)
def test_help_of_the_new_commands(run: Command, command: str) -> None:
    out, err = run(command, "--help")
    assert err == "" and out.isascii() and "examples:" in out
    assert "--json" in out or command == "completion"
