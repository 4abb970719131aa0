"""Text: its letters, its patterns, its pieces, and numbers written in it."""

from __future__ import annotations

from collections.abc import Iterator

import ml_dtypes
import numpy as np
import tensorflow as tf

from proof import Case
from smconvert.model import Array
from values import BOOL, FLOATS, INTEGERS, TEXT, edges

SPACED = (
    " a  b c ",
    "a b\tc\nd\x0be\x0cf\rg h\u3000i",
    "  ",
    "",
    "one",
    "ä,ö;,ü",
    ",a,",
    ",,,",
    "a, b",
)


def cases() -> Iterator[Case]:
    yield from letters()
    yield from patterns()
    yield from splits()
    yield from joins()
    yield from numbers()


def texts(*values: str) -> Array:
    return np.array([v.encode() for v in values], object)


def shaped() -> Iterator[Array]:
    """Texts in each shape."""
    yield edges(TEXT)
    yield edges(TEXT).reshape(2, 1, 3)
    yield np.array(b"Ab", object)
    yield np.zeros((0,), object)
    yield np.zeros((2, 0), object)


def letters() -> Iterator[Case]:
    everything = texts("".join(map(chr, range(1, 0x800))), "AZaz[`{@", "İIıßẞΣ😀")
    for op in ("StringLower", "StringUpper"):
        for x in (*shaped(), everything):
            yield Case(op, {"input": x})
        yield Case(op, {"input": everything}, {"encoding": "utf-8"}, refusable=True)


def patterns() -> Iterator[Case]:
    many = texts(*SPACED, "abc", "ABC", "a\nb", "ü", "日本", "12", "a1")
    for pattern in (
        "",
        ".",
        "a.*",
        r"(?i)abc",
        r"\w+",
        r"[^a]*",
        r"\pL+",
        "a|12",
        "(a)(.*)",
        r"\C\C",
    ):
        yield Case("StaticRegexFullMatch", {"input": many}, {"pattern": pattern}, refusable=True)
        yield Case(
            "RegexFullMatch",
            {"input": many, "pattern": np.array(pattern.encode(), object)},
            constants=frozenset({"pattern"}),
            refusable=True,
        )
    for x in shaped():
        yield Case("StaticRegexFullMatch", {"input": x}, {"pattern": "[aA].?"}, refusable=True)
        yield Case(
            "StaticRegexReplace", {"input": x}, {"pattern": "a", "rewrite": "bc"}, refusable=True
        )
    tags = texts("<br />", "x<br /><br />y", "", "<br <br />", "a.b*c-d", "(a)", *SPACED, "--a--b-")
    written = (
        r"[!\"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']",
        "<br />",
        r"\.",
        r"\s",
        r"\s+",
        "-+",
        "[- ]+",
        r"[a-c\d]",
        "[ab-]",
        "[-ab]",
        r"a\.b",
        "ö",
    )
    for pattern in written:
        for rewrite in ("", " ", "-a-"):
            given = {"pattern": pattern, "rewrite": rewrite}
            yield Case("StaticRegexReplace", {"input": tags}, given, refusable=True)
    for pattern in ("a", "<br />", "a+", "[ab]"):
        given = {"pattern": pattern, "rewrite": "_", "replace_global": False}
        yield Case("StaticRegexReplace", {"input": tags}, given, refusable=True)
    for pattern in (
        "a*",
        "a|b",
        "^a",
        "[^a]",
        r"\bx",
        "a{2}",
        "(a)",
        "",
        r"\W",
        r"[\W]",
        "a?",
        ".",
    ):
        given = {"pattern": pattern, "rewrite": "_"}
        yield Case("StaticRegexReplace", {"input": tags}, given, refusable=True)
    given = {"pattern": "a", "rewrite": r"<\0>"}
    yield Case("StaticRegexReplace", {"input": tags}, given, refusable=True)
    constant = frozenset({"pattern", "rewrite"})
    inputs = {
        "input": tags,
        "pattern": np.array(b"[ab]", object),
        "rewrite": np.array(b"", object),
    }
    yield Case("RegexReplace", inputs, constants=constant, refusable=True)
    yield Case("RegexReplace", inputs, refusable=True)


def splits() -> Iterator[Case]:
    for x in (texts(*SPACED), texts(""), texts("", " "), np.zeros((0,), object)):
        for sep in ("", " ", ",", ", "):
            for most in (-1, 0, 1, 2):
                yield Case(
                    "StringSplitV2",
                    {"input": x, "sep": np.array(sep.encode(), object)},
                    {"maxsplit": most},
                    frozenset({"sep"}),
                    refusable=True,
                )
        for delimiter in (" ", ",", ", ", " \t,", "", "ü"):
            for skips in (True, False):
                yield Case(
                    "StringSplit",
                    {"input": x, "delimiter": np.array(delimiter.encode(), object)},
                    {"skip_empty": skips},
                    frozenset({"delimiter"}),
                    refusable=True,
                )
    given = {"input": texts(*SPACED), "sep": np.array(b",", object)}
    yield Case("StringSplitV2", given, refusable=True)


def joins() -> Iterator[Case]:
    one, two = texts("a", "ü", ""), texts("", "x", "yz")
    for separator in ("", "-", "ß "):
        given = {"separator": separator}
        for lists in (
            [one],
            [one, two],
            [one, two, one],
            [np.array(b"s", object), two],
            [one.reshape(3, 1), two.reshape(3, 1)],
            [np.zeros((0, 2), object), np.array(b"s", object)],
            [np.array(b"s", object), np.array(b"t", object)],
        ):
            yield Case("StringJoin", {"inputs": lists}, given, refusable=True)
        for shape, axes in (
            ((2, 3), [0, 1]),
            ((2, 3), [1, 0]),
            ((2, 3), [-1]),
            ((2, 3), [0]),
            ((2, 3), []),
            ((2, 3, 4), [2, 0]),
            ((2, 3, 4), [-2]),
            ((2, 0, 4), [1]),
            ((2, 0, 4), [0]),
            ((2, 0, 4), [0, 2]),
            ((0,), [0]),
            ((), []),
        ):
            for keeps in (True, False):
                size = int(np.prod(shape))
                x = np.array([f"{i}".encode() for i in range(size)], object).reshape(shape)
                yield Case(
                    "ReduceJoin",
                    {"inputs": x, "reduction_indices": np.array(axes, np.int32)},
                    {**given, "keep_dims": keeps},
                    frozenset({"reduction_indices"}),
                    refusable=True,
                )


def numbers() -> Iterator[Case]:
    wholes = ("1", " 1", "1 ", "\t12\n", "\v7", "010", "+5", "0", "2147483647")
    for dtype in (tf.int32, tf.int64, tf.uint32, tf.uint64, tf.float32, tf.float64):
        yield Case("StringToNumber", {"string_tensor": texts(*wholes)}, {"out_type": dtype})
        for x in (np.zeros((0, 2), object), np.array(b"3", object), texts("1", "2").reshape(2, 1)):
            yield Case("StringToNumber", {"string_tensor": x}, {"out_type": dtype})
        limits = [str(dtype.min), str(dtype.max)] if dtype.is_integer else ["-5"]
        yield Case("StringToNumber", {"string_tensor": texts(*limits)}, {"out_type": dtype})
        wrong = ("x", "", "1x", "1.5x", "1_0", "1 2", "--1", "1e", "0x", "1.5", "-1", "1e3")
        for text in wrong:
            yield Case("StringToNumber", {"string_tensor": texts(text)}, {"out_type": dtype})
    broken = "1.5, -1.5e3,1e-40,.5,1.,inf,-INF,Infinity,nan,NaN,3.5e38,0x1A,0x1p3,-0,0.1,1E5,+inf"
    broken += ",3.14159265358979,16777217,nan(1)"
    for dtype in (tf.float32, tf.float64):
        yield Case(
            "StringToNumber", {"string_tensor": texts(*broken.split(","))}, {"out_type": dtype}
        )
    for dtype in (*INTEGERS, BOOL):
        for x in (edges(dtype), np.zeros((0, 2), dtype), np.ones((), dtype)):
            yield Case("AsString", {"input": x})
        for given in (
            {"width": 5},
            {"width": 5, "fill": "0"},
            {"width": 5, "fill": "-"},
            {"width": 22, "fill": "0"},
            {"width": 3, "fill": " "},
            {"width": 0, "fill": "0"},
            {"width": 9, "fill": "+"},
            {"width": 3, "fill": "#"},
            {"fill": "+"},
            {"fill": " "},
            {"fill": "-"},
        ):
            yield Case("AsString", {"input": edges(dtype)}, given, refusable=True)
    for fill in ("", "0", "-", "+", " "):
        given = {"width": 3, "fill": fill}
        yield Case("AsString", {"input": edges(TEXT)}, given, refusable=True)
    yield Case("AsString", {"input": edges(TEXT)})
    for dtype in FLOATS:
        if dtype != ml_dtypes.bfloat16:
            yield Case("AsString", {"input": np.ones((2,), dtype)}, refusable=True)
