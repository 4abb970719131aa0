"""A layer of somebody's own, for the fixture ``keras3_custom``."""

import keras


class Doubled(keras.layers.Layer):
    """Twice its input."""

    def call(self, inputs):
        return inputs * 2
