"""Scripts that complete the command in a shell, made from its parser."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

# Arguments whose values are names of models, by their destination.
OF_MODELS = {"model", "models", "pattern"}
SOURCES = ("torchvision", "timm", "keras", "paper")


class Option(NamedTuple):
    """An option of a command: its spellings, its help, and the values that it takes."""

    flags: tuple[str, ...]
    help: str
    takes_value: bool
    choices: tuple[str, ...]
    is_model: bool


class Command(NamedTuple):
    """A command: its name, its summary, its options, and what stands without an option."""

    name: str
    summary: str
    options: tuple[Option, ...]
    choices: tuple[str, ...]
    takes_models: bool
    takes_files: bool


def commands_of(parser: argparse.ArgumentParser) -> list[Command]:
    """The commands of a parser, as far as a shell completes them."""
    return [_command(name, inner) for name, inner in _inner(parser).items()]


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    """The options that stand in place of a command."""
    return [flag for action in parser._actions for flag in action.option_strings if flag != "-h"]


def _inner(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            choices: Mapping[str, argparse.ArgumentParser] = action.choices
            return choices
    return {}


def _command(name: str, parser: argparse.ArgumentParser) -> Command:
    options = [action for action in parser._actions if action.option_strings]
    others = [action for action in parser._actions if not action.option_strings]
    summary, _, _ = (parser.description or "").partition("\n")
    return Command(
        name,
        summary.rstrip("."),
        tuple(map(_option, options)),
        tuple(str(choice) for action in others for choice in action.choices or ()),
        any(action.dest in OF_MODELS for action in others),
        any(
            action.dest in {"photos", "folder"} or "model file" in (action.help or "")
            for action in others
        ),
    )


def _option(action: argparse.Action) -> Option:
    choices = tuple(str(choice) for choice in action.choices or ())
    if action.dest == "source":
        choices = SOURCES
    text = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
    return Option(
        tuple(action.option_strings),
        re.split(r"[;(]", text)[0].strip(),
        action.nargs != 0,
        choices,
        action.dest in OF_MODELS,
    )


def bash(parser: argparse.ArgumentParser, models: Sequence[str]) -> str:
    """A script for bash: a function that `complete` calls."""
    commands = commands_of(parser)
    names = " ".join(command.name for command in commands)
    lines = [
        "# Completion of cnnzoo in bash: source <(cnnzoo completion bash)",
        f"_cnnzoo_models={_quoted(' '.join(models))}",
        "_cnnzoo() {",
        '    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"',
        '    local command="" words="" files=""',
        # Bash takes `--option=value` for three words.
        '    [[ $before != = ]] || before="${COMP_WORDS[COMP_CWORD-2]}"',
        '    [[ $word != = ]] || word=""',
        "    (( COMP_CWORD > 1 )) && command=${COMP_WORDS[1]}",
        '    case "$command:$before" in',
        *_bash_values(commands),
        "        *)",
        '            case "$command" in',
        f'                "") words={_quoted(" ".join([names, *_flags(parser)]))} ;;',
    ]
    for command in commands:
        flags = " ".join(flag for option in command.options for flag in option.flags)
        models_too = " $_cnnzoo_models" if command.takes_models else ""
        given = f'"{" ".join([*command.choices, flags])}{models_too}"'
        files = " files=1" if command.takes_files else ""
        lines.append(f"                {command.name}) words={given}{files} ;;")
    lines += [
        "            esac ;;",
        "    esac",
        "    COMPREPLY=()",
        '    while IFS= read -r found; do COMPREPLY+=("$found"); done < <(',
        '        [[ -z $words ]] || compgen -W "$words" -- "$word"',
        '        [[ -z $files || $word == -* ]] || compgen -f -- "$word"',
        "    )",
        "}",
        "complete -o filenames -F _cnnzoo cnnzoo",
    ]
    return "\n".join(lines)


def _bash_values(commands: Sequence[Command]) -> Iterator[str]:
    """The cases of values that follow an option."""
    for command in commands:
        for option in command.options:
            if not option.takes_value:
                continue
            pattern = "|".join(f"{command.name}:{flag}" for flag in option.flags)
            if option.choices:
                yield f"        {pattern}) words={_quoted(' '.join(option.choices))} ;;"
            elif option.is_model:
                yield f"        {pattern}) words=$_cnnzoo_models files=1 ;;"
            else:
                yield f"        {pattern}) files=1 ;;"


def zsh(parser: argparse.ArgumentParser, models: Sequence[str]) -> str:
    """A script for zsh: a function that `_arguments` completes by."""
    commands = commands_of(parser)
    lines = [
        "#compdef cnnzoo",
        "# Completion of cnnzoo in zsh: source <(cnnzoo completion zsh)",
        f"_cnnzoo_models=({' '.join(map(shlex.quote, models))})",
        "_cnnzoo() {",
        "    local -a commands",
        "    commands=(",
        *(
            f"        {_quoted(f'{command.name}:{_without_colon(command.summary)}')}"
            for command in commands
        ),
        "    )",
        "    if (( CURRENT == 2 )); then",
        f"        [[ $words[2] != -* ]] || compadd -- {' '.join(_flags(parser))}",
        "        _describe command commands",
        "        return",
        "    fi",
        "    case $words[2] in",
    ]
    for command in commands:
        lines.append(f"        {command.name}) shift words; (( CURRENT-- )); _arguments \\")
        for option in command.options:
            lines += [f"            {_zsh_option(option, flag)} \\" for flag in option.flags]
        lines.append(f"            {_quoted('*:argument:' + _zsh_action(command))} ;;")
    lines += ["    esac", "}", "compdef _cnnzoo cnnzoo"]
    return "\n".join(lines)


def _zsh_option(option: Option, flag: str) -> str:
    # A value stands in the next word, or after `=` in that of a long option.
    equals = "=" if option.takes_value and flag.startswith("--") else ""
    text = f"{flag}{equals}[{re.sub(r'[][:]', ' ', option.help)}]"
    if not option.takes_value:
        return _quoted(text)
    if option.choices:
        return _quoted(f"{text}:value:({' '.join(option.choices)})")
    if option.is_model:
        return _quoted(f"{text}:model:{{ compadd -a _cnnzoo_models; _files }}")
    return _quoted(f"{text}:value:_files")


def _zsh_action(command: Command) -> str:
    if command.choices:
        return f"({' '.join(command.choices)})"
    if command.takes_models:
        return f"{{ compadd -a _cnnzoo_models{'; _files' if command.takes_files else ''} }}"
    return "_files"


def fish(parser: argparse.ArgumentParser, models: Sequence[str]) -> str:
    """A script for fish: a line for each command and option."""
    lines = [
        "# Completion of cnnzoo in fish: cnnzoo completion fish > "
        "~/.config/fish/completions/cnnzoo.fish",
        f"set -g _cnnzoo_models {' '.join(models)}",
        "complete -c cnnzoo -f",
        *(f"complete -c cnnzoo -n __fish_use_subcommand -l {flag[2:]}" for flag in _flags(parser)),
    ]
    for command in commands_of(parser):
        lines.append(
            f"complete -c cnnzoo -n __fish_use_subcommand -a {command.name} -d "
            f"{_quoted(command.summary)}"
        )
        within = f"complete -c cnnzoo -n {_quoted(f'__fish_seen_subcommand_from {command.name}')}"
        if command.choices:
            lines.append(f"{within} -a {_quoted(' '.join(command.choices))}")
        if command.takes_models:
            lines.append(f'{within} -a "$_cnnzoo_models"')
        if command.takes_files:
            lines.append(f"{within} -F")
        lines += [f"{within} {_fish_option(option)}" for option in command.options]
    return "\n".join(lines)


def _fish_option(option: Option) -> str:
    flags = " ".join(
        f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags
    )
    values = ""
    if option.choices:
        values = f" -x -a {_quoted(' '.join(option.choices))}"
    elif option.is_model:
        values = ' -r -F -a "$_cnnzoo_models"'
    elif option.takes_value:
        values = " -r -F"
    return f"{flags}{values} -d {_quoted(option.help)}"


def _quoted(text: str) -> str:
    return shlex.quote(text)


def _without_colon(text: str) -> str:
    return text.replace(":", " -")


Script = Callable[[argparse.ArgumentParser, Sequence[str]], str]
SCRIPTS: dict[str, Script] = {"bash": bash, "zsh": zsh, "fish": fish}
