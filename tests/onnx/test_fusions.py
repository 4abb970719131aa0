"""Formulas become one op where ONNX has it and the numbers hold; others stay what they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf

from proof import ours, reference, run
from smconvert_onnx.exporter import MAX_OPSET
from traced import traced

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(2, 3, 8)).astype(np.float32)
SCALE = RANDOM.uniform(0.5, 1.5, 8).astype(np.float32)
OFFSET = RANDOM.normal(size=8).astype(np.float32)


def moments(x: tf.Tensor, axes: list[int] | None = None) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.nn.moments(x, axes or [-1], keepdims=True)


def batch_normalized(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.batch_normalization(x, *moments(x), OFFSET, SCALE, 1e-6)


def by_hand(x: tf.Tensor) -> tf.Tensor:
    mean = tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(tf.square(x - mean), -1, keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 1e-6) * SCALE + OFFSET


def over_two_axes(x: tf.Tensor) -> tf.Tensor:
    scale = tf.constant(RANDOM.uniform(0.5, 1.5, (1, 3, 8)).astype(np.float32))
    return tf.nn.batch_normalization(x, *moments(x, [1, 2]), OFFSET, scale, 1e-3)


def rms(x: tf.Tensor) -> tf.Tensor:
    return x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), -1, keepdims=True) + 1e-6) * SCALE


def gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * tf.pow(x, 3.0))
    return 0.5 * x * (1.0 + tf.tanh(inner))


def gelu_cubed(x: tf.Tensor) -> tf.Tensor:
    inner = (x * x * x * 0.044715 + x) * 0.7978845608
    return x * (0.5 * (tf.tanh(inner) + 1.0))


def hard_swish(x: tf.Tensor) -> tf.Tensor:
    return x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def hard_swish_divided(x: tf.Tensor) -> tf.Tensor:
    return x * tf.nn.relu6(3.0 + x) / 6.0


def dense(x: tf.Tensor) -> tf.Tensor:
    return tf.tensordot(x, tf.constant(np.outer(SCALE, OFFSET)), 1)


FORMULAS: list[tuple[Callable[[Any], Any], str]] = [
    (batch_normalized, "LayerNormalization"),
    (by_hand, "LayerNormalization"),
    (over_two_axes, "LayerNormalization"),
    (rms, "RMSNormalization"),
    (tf.nn.gelu, "Gelu"),
    (lambda x: 0.5 * x * (1.0 + tf.math.erf(x / math.sqrt(2.0))), "Gelu"),
    (lambda x: x * 0.5 * (tf.math.erf(x * 0.70710678) + 1.0), "Gelu"),
    (lambda x: tf.nn.gelu(x, approximate=True), "Gelu"),
    (gelu_tanh, "Gelu"),
    (gelu_cubed, "Gelu"),
    (hard_swish, "HardSwish"),
    (hard_swish_divided, "HardSwish"),
]

NEAR_MISSES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda x: 0.5 * x * (1.0 + tf.math.erf(x / 1.5)), "Gelu"),
    (lambda x: 0.4 * x * (1.0 + tf.math.erf(x / math.sqrt(2.0))), "Gelu"),
    (lambda x: 0.5 * x * (1.0 - tf.math.erf(x / math.sqrt(2.0))), "Gelu"),
    (lambda x: 0.5 * x * tf.math.erfc(x / math.sqrt(2.0)), "Gelu"),
    (lambda x: 0.5 * x * (1.0 + tf.math.erf(tf.abs(x) / math.sqrt(2.0))), "Gelu"),
    (lambda x: x * tf.nn.relu6(x + 2.0) / 6.0, "HardSwish"),
    (lambda x: tf.abs(x) * tf.nn.relu6(x + 3.0) / 6.0, "HardSwish"),
    (
        lambda x: tf.nn.batch_normalization(x, *moments(x, [1]), OFFSET, SCALE, 1e-6),
        "LayerNormalization",
    ),
    (
        lambda x: tf.nn.batch_normalization(x, *moments(x), OFFSET, x, 1e-6),
        "LayerNormalization",
    ),
    (
        lambda x: (
            (x - tf.reduce_mean(x, -1, keepdims=True)) * tf.math.rsqrt(moments(x + x)[1] + 1e-6)
            + OFFSET
        ),
        "LayerNormalization",
    ),
    (lambda x: tf.abs(x) * tf.math.rsqrt(moments(x)[0] + 4.0) * SCALE, "RMSNormalization"),
]


def ops(model: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


@pytest.mark.parametrize("shape", [X.shape, (None, 3, 8)], ids=["static", "batch"])
@pytest.mark.parametrize(("formula", "op"), FORMULAS)
def test_one_op(formula: Callable[[Any], Any], op: str, shape: tuple[int | None, ...]) -> None:
    built = traced(formula, X, shape)
    model = ours(built, MAX_OPSET)
    assert op in ops(model)
    assert len(ops(model)) <= 2
    same(built, model)


@pytest.mark.parametrize(("formula", "op"), NEAR_MISSES)
def test_another_formula(formula: Callable[[Any], Any], op: str) -> None:
    built = traced(formula, X, X.shape)
    model = ours(built, MAX_OPSET)
    assert op not in ops(model)
    same(built, model)


@pytest.mark.parametrize(("formula", "op"), FORMULAS)
def test_not_before_its_opset(formula: Callable[[Any], Any], op: str) -> None:
    built = traced(formula, X, X.shape)
    model = ours(built, 13)
    assert op not in ops(model)
    same(built, model)


@pytest.mark.parametrize("shape", [X.shape, (None, 3, 8), (None, None, 8)])
def test_dense_on_any_rank(shape: tuple[int | None, ...]) -> None:
    built = traced(dense, X, shape)
    model = ours(built, 18)
    assert ops(model) == ["MatMul"]
    same(built, model)


def same(built: Any, model: bytes) -> None:
    expected = reference(built)
    actual = run(model, built.feeds, list(expected))
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=2e-5, atol=2e-6)
