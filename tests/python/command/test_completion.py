"""Completion as bash, zsh and fish do it; and help of every option."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import cnnzoo as cz
from cnnzoo_command.arguments import GROUPS, parser
from cnnzoo_command.completion import SCRIPTS, commands_of
from command_line import Command

COMMANDS = {command.name: command for command in commands_of(parser())}


# What zsh shows to a Tab after a line, one a line. Its completion needs a terminal, which zpty is;
# `compadd` tells what it is given.
ZSH = """
zmodload zsh/zpty
found=$(mktemp -u)
tell='if [[ ${@[1,(i)(-|--)]} != *-[OAD]* ]]; then local -a hits
    builtin compadd -A hits "$@"; print -rl -- $hits >> '$found'.part
fi; builtin compadd "$@"'
zpty shell zsh -f -i
zpty -w shell "cd ${(q)PWD}; autoload -Uz compinit; compinit -u -D; source ${(q)1}"
zpty -w shell "compadd() { $tell }"
zpty -w shell "ended() { print >> $found.part; mv $found.part $found }"
zpty -w shell "_tab() { comppostfuncs=(ended); zle complete-word }; zle -N _tab; bindkey '^I' _tab"
zpty -n -w shell "$2"$'\t'
repeat 600; do [[ ! -e $found ]] || break; sleep 0.1; done
cat $found && rm $found
"""


def in_bash(script: Path, *words: str) -> list[str]:
    given = " ".join(f"'{word}'" for word in ("cnnzoo", *words))
    return [
        *("bash", "--norc", "-c"),
        f"source {script}; COMP_WORDS=({given}); COMP_CWORD={len(words)}; _cnnzoo; "
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]


def in_zsh(script: Path, *words: str) -> list[str]:
    return ["zsh", "-f", "-c", ZSH, "zsh", str(script), " ".join(["cnnzoo", *words])]


def in_fish(script: Path, *words: str) -> list[str]:
    line = " ".join(["cnnzoo", *words])
    return ["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"]


SHELLS = {"bash": in_bash, "zsh": in_zsh, "fish": in_fish}


@pytest.fixture(scope="module", params=SHELLS)
def script(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shell's script, whose name ends with that of the shell."""
    if shutil.which(request.param) is None:
        reason = f"there is no {request.param}: `make shells` installs it as root"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    path: Path = tmp_path_factory.mktemp("completion") / f"cnnzoo.{request.param}"
    path.write_text(SCRIPTS[request.param](parser(), cz.list_models()) + "\n")
    return path


def completed(script: Path, *words: str, folder: Path | None = None) -> set[str]:
    """The words that the shell offers for the last one."""
    command = SHELLS[script.suffix[1:]](script, *words)
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    assert done.stderr == ""
    # In fish with what they mean.
    return {line.partition("\t")[0] for line in done.stdout.splitlines()} - {""}


def test_commands(script: Path) -> None:
    # Options of the command itself, once one is begun.
    assert completed(script, "") - {"--help", "--version"} == set(COMMANDS)
    assert completed(script, "co") == {"compare", "completion"}
    assert completed(script, "--v") == {"--version"}


def options_of(command: str) -> set[str]:
    [inner] = [
        action.choices[command]
        for action in parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    return {flag for action in inner._actions for flag in action.option_strings}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_every_command(script: Path, command: str) -> None:
    assert completed(script, command, "-") == options_of(command)


def test_values_models_and_files(script: Path, tmp_path: Path) -> None:
    (tmp_path / "resnet_photos").mkdir()
    (tmp_path / "photograph.png").write_text("")
    resnets = {name for name in cz.list_models() if name.startswith("resnet1")}
    assert completed(script, "info", "resnet1", folder=tmp_path) == resnets
    assert completed(script, "train", "--model", "resnet1", folder=tmp_path) == resnets
    for given, expected in (
        (("evaluate", "--model", "resnet_"), {"resnet_photos"}),
        (("predict", "ph"), {"photograph.png"}),
        (("train", "-o", ""), {"photograph.png", "resnet_photos"}),
    ):
        found = completed(script, *given, folder=tmp_path)
        assert {name.rstrip("/") for name in found} == expected
    assert completed(script, "train", "--augment", "") == {"none", "light", "strong"}
    assert completed(script, "list", "--source", "t") == {"torchvision", "timm"}
    assert completed(script, "completion", "") - {"-h", "--help"} == {"bash", "zsh", "fish"}


def test_a_value_after_an_equals_sign(script: Path) -> None:
    # Bash passes three words, the others one, which fish completes as a whole.
    bash, fish = (script.suffix == name for name in (".bash", ".fish"))
    begun = ("--augment", "=", "l") if bash else ("--augment=l",)
    assert completed(script, "train", *begun) == {"--augment=light" if fish else "light"}


def test_bash_takes_names_with_spaces(tmp_path: Path) -> None:
    path = tmp_path / "cnnzoo.bash"
    path.write_text(SCRIPTS["bash"](parser(), ()))
    (tmp_path / "a photograph.png").write_text("")
    assert completed(path, "predict", "a", folder=tmp_path) == {"a photograph.png"}


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
