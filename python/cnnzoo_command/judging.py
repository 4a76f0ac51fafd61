"""The arguments of `cnnzoo evaluate`, `embed`, `download` and `completion`."""

from __future__ import annotations

from typing import Any

from cnnzoo_command.common import SOURCES, add_command, add_threads, count

MODEL = "tf_efficientnet_lite0"


def add_evaluate(commands: Any) -> None:
    """Add the command `evaluate`."""
    command = add_command(
        commands,
        "evaluate",
        "measure a model's accuracy on a folder of photographs",
        """
        cnnzoo evaluate --model run/best.safetensors test/
        cnnzoo evaluate --model resnet50 imagenet/val/ --save resnet50.png
        cnnzoo evaluate --model small.safetensors test/ --precision int8 --json
        """,
        """
        The folder has a folder of photographs for each class, named as the class is in the model's
        labels; it need not have all of them.
        """,
    )
    add = command.add_argument
    add("folder", metavar="FOLDER", help="a folder with a folder of photographs for each class")
    _add_model(command)
    add(
        "--save",
        metavar="PICTURE",
        help="draw confusion matrix, calibration and worst errors into this .png, .svg or .pdf "
        "file (default: nothing is drawn)",
    )
    _add_on_error(
        command,
        ("skip", "raise"),
        "go on after a photograph that cannot be read, with exit status 1, or end there",
    )
    add("--json", action="store_true", help="print all figures as JSON (default: as text)")


def add_embed(commands: Any) -> None:
    """Add the command `embed`."""
    command = add_command(
        commands,
        "embed",
        "write a vector for each photograph, for search and clustering",
        """
        cnnzoo embed photos/ -o vectors.npy
        cnnzoo embed --model resnet50 photos/ -o vectors.parquet
        """,
        """
        The vectors are the pooled features before the classifier, float32, in the order of the
        paths. A .npy file has an array (N, C), and beside it NAME.csv the path of each row; a
        .parquet file has the columns path, vector and error. After Ctrl-C or a crash the same
        command continues, from the files NAME.part and NAME.part.csv.
        """,
    )
    add = command.add_argument
    add(
        "photos",
        nargs="+",
        metavar="PHOTO",
        help="a photograph, or a folder with such in it or below",
    )
    add(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="the vectors, a .npy or .parquet file, which may not exist yet (required)",
    )
    _add_model(command)
    _add_on_error(
        command,
        ("row", "skip", "raise"),
        "write a row with the error and a vector of NaN for a photograph that cannot be read, or "
        "none, both with exit status 1; or end there",
    )
    add("--json", action="store_true", help="print the outcome as JSON (default: as text)")


def add_download(commands: Any) -> None:
    """Add the command `download`."""
    command = add_command(
        commands,
        "download",
        "download published weights into the cache",
        """
        cnnzoo download resnet50 mobilenet_v2
        cnnzoo download resnet50 --weights timm/a1_in1k
        """,
        """
        The caches are those of torch.hub, huggingface_hub and Keras. Files whose hash is published
        are checked against it, cached ones too. CNNZOO_OFFLINE=1 forbids network access: then this
        says which weights are there.
        """,
    )
    add = command.add_argument
    add("models", nargs="+", metavar="MODEL", help="a name that `cnnzoo list` prints")
    add(
        "--weights",
        default="default",
        metavar="W",
        help="a tag of `cnnzoo info MODEL`, or default, the best ones (default: %(default)s)",
    )
    add(
        "--source",
        metavar="S",
        help=f"the source of the definition: {SOURCES} (default: the model's own)",
    )
    add("--json", action="store_true", help="print a JSON list (default: a line for each file)")


def add_completion(commands: Any) -> None:
    """Add the command `completion`."""
    command = add_command(
        commands,
        "completion",
        "print a script that completes the command in a shell",
        """
        source <(cnnzoo completion bash)                    # in ~/.bashrc
        source <(cnnzoo completion zsh)                     # in ~/.zshrc
        cnnzoo completion fish > ~/.config/fish/completions/cnnzoo.fish
        """,
        "It completes commands, options, their choices, names of models, and files.",
    )
    command.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")


def _add_model(command: Any) -> None:
    add = command.add_argument
    add(
        "--model",
        default=MODEL,
        metavar="M",
        help="a model file, or a name that `cnnzoo list` prints (default: %(default)s)",
    )
    add(
        "--weights",
        metavar="W",
        help="weights for a network named by --model: a tag of `cnnzoo info M`, or a weights file "
        "(default: the best published ones)",
    )
    add(
        "--batch-size",
        type=count,
        default=16,
        metavar="N",
        help="photographs that run together (default: %(default)s)",
    )
    add("--device", default="cpu", metavar="D", help="cpu, cuda or cuda:N (default: %(default)s)")
    add(
        "--precision",
        choices=("float32", "bfloat16", "int8"),
        default="float32",
        help="precision of convolutions and linear layers (default: %(default)s)",
    )
    add_threads(command)


def _add_on_error(command: Any, choices: tuple[str, ...], text: str) -> None:
    command.add_argument(
        "--on-error",
        choices=choices,
        default=choices[0],
        help=f"{text} (default: %(default)s)",
    )
