"""Text: its letters, its patterns, and numbers written in it."""

from __future__ import annotations

import re

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import flat
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.extensions import HINT, regex_replaced
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.text_pieces import Pieces, is_empty, plain

_SIGNED = frozenset({DType.INT8, DType.INT16, DType.INT32, DType.INT64})
_UNSIGNED = frozenset({DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64})


class Case:
    """The letters of ASCII (string_lower_op.cc, string_upper_op.cc).

    StringNormalizer changes no other letter in the C locale, which each system has. It takes no
    empty vector.
    """

    ops = ("StringLower", "StringUpper")

    def emit(self, g: Builder, op: Op, texts: Tensor) -> Tensor:
        if op.attr("encoding"):
            op.refuse("ONNX has no letters but those of ASCII that are the same on each system")
        row = flat(g, texts)
        changed = g.StringNormalizer(
            g.Concat(row, np.array([""], object), axis=0),
            case_change_action="LOWER" if op.type == "StringLower" else "UPPER",
            locale="C",
        )
        changed, shape = g.Slice(changed, [0], g.Shape(row), [0]), g.shape(texts)
        if g.opset < 14:
            # There 0 does not mean 0, and -1 is 0 where there are no texts.
            shape = g.Where(g.Equal(shape, 0), -1, shape)
        return reshaped(g, changed, shape)


class FullMatch:
    """Whether a pattern of RE2 matches the whole text; ONNX Runtime has RE2 as well."""

    ops = ("StaticRegexFullMatch", "RegexFullMatch")

    def emit(self, g: Builder, op: Op, texts: Tensor, pattern: Tensor | None = None) -> Tensor:
        value = op.attr("pattern") if pattern is None else op.constant(pattern, "pattern").item()
        return g.RegexFullMatch(texts, pattern=plain(op, value, "pattern"))


class Replace:
    """What matches a pattern replaced (regex_replace_op.cc): texts cut there, and joined again.

    Patterns of one character or of one fixed text can be said so, and their rewrites without
    groups; with a ``+`` behind the one character, empty pieces between others fall away.
    """

    ops = ("StaticRegexReplace", "RegexReplace")

    def emit(self, g: Builder, op: Op, texts: Tensor, *others: Tensor) -> Tensor:
        if others:
            values = [op.constant(t, "pattern and rewrite").item() for t in others]
        else:
            values = [op.attr("pattern"), op.attr("rewrite")]
        pattern, rewrite = (plain(op, v, "pattern") for v in values)
        separators, many = _separators(pattern)
        once = not op.attr("replace_global")
        if not separators or "\\" in rewrite or (once and (many or len(separators) > 1)):
            if g.extensions and pattern:
                return regex_replaced(g, texts, pattern, rewrite, everywhere=not once)
            op.refuse(
                f"standard ONNX has no regular expressions such as {pattern!r} -> {rewrite!r}", HINT
            )
        pieces = Pieces.of(g, texts)
        pieces = pieces.cut(g, separators[0], 1) if once else pieces.cut_at_each(g, separators)
        if many:
            column = pieces.columns(g)
            last = g.Sub(g.Gather(pieces.counts(g), pieces.row), 1)
            end = g.Or(g.Equal(column, 0), g.Equal(column, last))
            pieces = pieces.kept(g, g.Or(end, g.Not(is_empty(g, pieces.text))))
        return reshaped(g, pieces.joined(g, rewrite), g.shape(texts))


_ESCAPES = {"t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}
_SETS = {"s": "\t\n\f\r ", "d": "0123456789"}
_ITEM = r"\\[tnvfrsd]|\\[^\w\s]|[^\\\[\]]"
_SET = re.compile(rf"\[(?!\^)((?:{_ITEM})+)\](\+?)", re.ASCII | re.DOTALL)
_ONE = re.compile(r"(\\[tnvfrsd]|\\[^\w\s]|[^\\\[\](){}.*+?^$|])(\+?)", re.ASCII | re.DOTALL)


def _separators(pattern: str) -> tuple[list[str], bool]:
    """The texts that a pattern matches, and whether runs of them are one; none if not so simple."""
    found = _SET.fullmatch(pattern)
    if found and pattern.isascii():
        return _members(found[1]), bool(found[2])
    found = _ONE.fullmatch(pattern)
    if found:
        return _meant(found[1]), bool(found[2])
    text = ""
    while pattern:
        found = _ONE.match(pattern)
        if not found or found[2] or len(_meant(found[1])) > 1:
            return [], False
        text += _meant(found[1])[0]
        pattern = pattern[found.end() :]
    return ([text] if text else []), False


def _meant(item: str) -> list[str]:
    """The characters that a character or escape of a pattern stands for."""
    if item[0] != "\\":
        return [item]
    return list(_SETS.get(item[1], _ESCAPES.get(item[1], item[1])))


def _members(inside: str) -> list[str]:
    """The characters of a set, which are separated by ``-`` where they are the ends of a range."""
    items = re.findall(_ITEM, inside, re.ASCII | re.DOTALL)
    members: dict[str, None] = {}
    while items:
        first = items.pop(0)
        if len(items) > 1 and items[0] == "-":
            (low,), (high,) = _meant(first)[:1], _meant(items[1])[:1]
            del items[:2]
            members.update((chr(c), None) for c in range(ord(low), ord(high) + 1))
        else:
            members.update((c, None) for c in _meant(first))
    return list(members)


class ToNumber:
    """The number that a text says (string_to_number_op.cc).

    Cast takes what comes before anything else: ``1x`` is 1. Where there are regular expressions,
    it gets a text that it refuses in place of those that TensorFlow refuses.
    """

    ops = ("StringToNumber",)

    def emit(self, g: Builder, op: Op, texts: Tensor) -> Tensor:
        dtype = op.attr("out_type")
        if g.opset >= 20:
            valid = g.RegexFullMatch(texts, pattern=_NUMBERS[dtype])
            texts = g.Where(valid, texts, np.array("no number", object))
        return g.cast(texts, dtype)


_SPACE = r"[\s\v]*"
_DECIMAL = r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_HEXADECIMAL = r"0[xX]([[:xdigit:]]+\.?[[:xdigit:]]*|\.[[:xdigit:]]+)([pP][+-]?\d+)?"
_WORDS = r"(?i:inf(inity)?|nan(\(\w*\))?)"
_FLOAT = rf"{_SPACE}[+-]?({_DECIMAL}|{_HEXADECIMAL}|{_WORDS}){_SPACE}"
_WHOLE = rf"{_SPACE}[+-]?\d+{_SPACE}"
_NATURAL = rf"{_SPACE}\+?\d+{_SPACE}"
_NUMBERS = {
    DType.FLOAT32: _FLOAT,
    DType.FLOAT64: _FLOAT,
    DType.INT32: _WHOLE,
    DType.INT64: _WHOLE,
    DType.UINT32: _NATURAL,
    DType.UINT64: _NATURAL,
}


class AsString:
    """Numbers as text (as_string_op.cc).

    ``width`` and ``fill`` are as in ``printf``: spaces before (or behind, for ``-``), or zeros
    after the sign; a space or ``+`` stands where a number with a sign is not negative.
    """

    ops = ("AsString",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        width, fill = op.attr("width"), op.attr("fill")
        if x.dtype is DType.BOOL:
            return g.Where(x, np.array("true", object), np.array("false", object))
        if x.dtype is not DType.STRING and x.dtype not in _SIGNED | _UNSIGNED:
            op.refuse("ONNX Runtime writes floating point numbers as text in another form")
        text = g.cast(x, DType.STRING)
        if x.dtype in _SIGNED and fill in {"0", " ", "+"} and (width > 0 or fill != "0"):
            sign, digits = _parts(g, x, fill)
            text = g.StringConcat(sign, digits)
            if fill == "0":
                return g.StringConcat(g.StringConcat(sign, _padding(g, text, width, "0")), digits)
        if width <= 0:
            return text
        padding = _padding(g, text, width, "0" if fill == "0" and x.dtype in _UNSIGNED else " ")
        return g.StringConcat(text, padding) if fill == "-" else g.StringConcat(padding, text)


def _parts(g: Builder, x: Tensor, fill: str) -> tuple[Tensor, Tensor]:
    """The sign of each number, and its digits."""
    positive = np.array(fill.strip("0"), object)
    sign = g.Where(g.Less(x, 0), np.array("-", object), positive)
    # The least int64 has no opposite, but its bits are those of its size in uint64.
    size = g.cast(g.Abs(g.cast(x, DType.INT64)), DType.UINT64)
    return sign, g.cast(size, DType.STRING)


def _padding(g: Builder, texts: Tensor, width: int, character: str) -> Tensor:
    """The characters that texts of fewer bytes than ``width`` lack."""
    padding: Tensor | None = None
    for length in range(width):
        lacking = np.array(character * (width - length), object)
        otherwise = np.array("", object) if padding is None else padding
        shorter = g.RegexFullMatch(texts, pattern=rf"(?s)\C{{{length}}}")
        padding = g.Where(shorter, lacking, otherwise)
    assert padding is not None
    return padding


HANDLERS: tuple[Handler, ...] = (Case(), FullMatch(), Replace(), ToNumber(), AsString())
