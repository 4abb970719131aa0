"""Builds the object of the fixture ``object_checkpoint``."""

import tensorflow as tf


class Affine(tf.Module):
    """x @ weight + bias."""

    def __init__(self):
        super().__init__()
        self.weight = tf.Variable(tf.zeros([3, 2]))
        self.bias = tf.Variable(tf.zeros([2]))

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def __call__(self, x):
        return {"y": tf.matmul(x, self.weight) + self.bias}


def build():
    """The object, with its variables created."""
    return Affine()
