"""The flags, in the groups that commands share, and how their texts become options."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smconvert.errors import UsageError

if TYPE_CHECKING:
    from smconvert.converters import SourceOptions

SOURCE = "How to read the source"
TARGET = "How to write the result"
CHECK = "The check"
GENERAL = "General"

Source = Annotated[Path, typer.Argument(help="The model: a file, a folder or a prefix.")]

From = Annotated[
    str | None,
    typer.Option(
        "--from", help="Source format, where the bytes do not tell.", rich_help_panel=SOURCE
    ),
]
Tag = Annotated[
    str | None,
    typer.Option(
        "--tag", help="The exact tag set to read, such as serve,gpu.", rich_help_panel=SOURCE
    ),
]
SignatureNames = Annotated[
    list[str] | None,
    typer.Option(
        "--signature", help="Keep this signature; repeat for more.", rich_help_panel=SOURCE
    ),
]
Inputs = Annotated[
    str | None,
    typer.Option(
        "--inputs",
        help="Inputs of a graph without signatures: x:0,y=image:0.",
        rich_help_panel=SOURCE,
    ),
]
Outputs = Annotated[
    str | None,
    typer.Option("--outputs", help="Outputs, likewise: prob=softmax:0.", rich_help_panel=SOURCE),
]
Fixed = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Fix a placeholder at a literal: is_training=false. Repeatable.",
        rich_help_panel=SOURCE,
    ),
]
Checkpoint = Annotated[
    str | None,
    typer.Option(help="Prefix of the checkpoint with the variables.", rich_help_panel=SOURCE),
]
MapVariable = Annotated[
    list[str] | None,
    typer.Option(
        "--map-variable",
        help="VAR=KEY, or a pattern: '*=*/ExponentialMovingAverage'. Repeatable.",
        rich_help_panel=SOURCE,
    ),
]
CutExamples = Annotated[
    bool,
    typer.Option(
        "--cut-examples",
        help="Start after the tf.Example parser: each feature becomes an input.",
        rich_help_panel=SOURCE,
    ),
]
OpLibrary = Annotated[
    list[Path] | None,
    typer.Option(
        "--op-library",
        help="Shared library with custom ops. Runs its code.",
        rich_help_panel=SOURCE,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="package.module:factory that builds the object of a TF2 checkpoint. Runs its code.",
        rich_help_panel=SOURCE,
    ),
]
CustomObjects = Annotated[
    list[str] | None,
    typer.Option(
        "--custom-objects",
        help="package.module:NAME of a Keras class that you vouch for. Runs its code.",
        rich_help_panel=SOURCE,
    ),
]
AllowOp = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-op",
        help="An op that may reach outside the model, such as ReadFile. Repeatable.",
        rich_help_panel=SOURCE,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Inputs to compare on: .npz, .npy, .json or .tfrecord; by default the model's warm-up "
        "requests, else generated ones.",
        rich_help_panel=CHECK,
    ),
]
Rtol = Annotated[float | None, typer.Option(help="Relative tolerance.", rich_help_panel=CHECK)]
Atol = Annotated[float | None, typer.Option(help="Absolute tolerance.", rich_help_panel=CHECK)]
Seed = Annotated[int, typer.Option(help="Seed of generated inputs.", rich_help_panel=CHECK)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=GENERAL)]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=GENERAL)
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say what is done.", rich_help_panel=GENERAL)
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=GENERAL)
]


def source_options(
    *,
    tag: str | None,
    signature: Sequence[str] | None,
    inputs: str | None,
    outputs: str | None,
    fixed: Sequence[str] | None,
    checkpoint: str | None,
    map_variable: Sequence[str] | None,
    cut_examples: bool,
    op_library: Sequence[Path] | None,
    model: str | None,
    custom_objects: Sequence[str] | None,
    allow_op: Sequence[str] | None = None,
) -> SourceOptions:
    """The source options that the flags mean.

    Raises:
        UsageError: a flag's text cannot be read.
    """
    from smconvert.converters import SourceOptions

    if allow_op:
        from smconvert.graph.outside import ensure_known

        ensure_known(allow_op)
    return SourceOptions(
        tags=None if tag is None else frozenset(filter(None, tag.split(","))),
        signatures=tuple(signature or ()),
        inputs=tensors(inputs, "--inputs"),
        outputs=tensors(outputs, "--outputs"),
        fixed_inputs=pairs(fixed, "--set", literal),
        checkpoint=checkpoint,
        variable_map=pairs(map_variable, "--map-variable", lambda key, _: key),
        cut_examples=cut_examples,
        op_libraries=tuple(op_library or ()),
        factory=model,
        custom_objects=tuple(custom_objects or ()),
        allowed_ops=tuple(allow_op or ()),
    )


def tensors(text: str | None, flag: str) -> dict[str, str]:
    """``x:0,y=image:0`` as name to tensor; a tensor without a name is called by its op."""
    found: dict[str, str] = {}
    for item in filter(None, (text or "").split(",")):
        name, equals, tensor = item.partition("=")
        if not equals:
            name, tensor = item.rpartition(":")[0] or item, item
        if not name or not tensor:
            raise UsageError(f"{item!r} is not NAME=TENSOR", where=flag, hint=f"{flag} x=image:0")
        if name in found:
            raise UsageError(f"{name!r} is given twice", where=flag)
        found[name] = tensor
    return found


def pairs(
    items: Sequence[str] | None, flag: str, read: Callable[[str, str], Any]
) -> dict[str, Any]:
    """``NAME=TEXT`` items as name to what ``read(text, flag)`` makes of the text."""
    found = {}
    for item in items or ():
        name, equals, text = item.partition("=")
        if not equals or not name or not text:
            raise UsageError(f"{item!r} is not NAME=VALUE", where=flag)
        if name in found:
            raise UsageError(f"{name!r} is given twice", where=flag)
        found[name] = read(text, flag)
    return found


def literal(text: str, flag: str) -> Any:
    """A Python literal, or true and false; nothing is evaluated.

    Raises:
        UsageError: it is anything else.
    """
    lowered = text.strip().lower()
    if lowered in {"true", "false"}:
        return lowered == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise UsageError(
            f"{text[:60]!r} is not a literal",
            where=flag,
            hint="numbers, quoted strings, true, false and lists of them, such as [[1.5, 2]]",
        ) from error
