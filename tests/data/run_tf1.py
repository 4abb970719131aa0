"""Runs a signature of a SavedModel in TensorFlow 1.15.

``run_tf1.py FOLDER SIGNATURE [TAG,TAG...] < inputs``; without tags it is ``serve``. Inputs and
outputs are JSON objects of recorded tensors (see ``tf1_case.py``), a sparse input in three parts.
"""

import json
import sys

import tensorflow as tf
from tf1_case import decode, encode
from verify_tf1 import tensor_names


def main(folder, name, tags="serve"):
    feeds = {key: decode(tensor) for key, tensor in json.load(sys.stdin).items()}
    config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    with tf.compat.v1.Session(graph=tf.Graph(), config=config) as sess:
        meta = tf.compat.v1.saved_model.load(sess, tags.split(","), folder)
        definition = meta.signature_def[name]
        tensors = tensor_names(definition.inputs)
        fed = {tensors[key]: value for key, value in feeds.items()}
        for key, value in definition.defaults.items() if hasattr(definition, "defaults") else ():
            fed.setdefault(definition.inputs[key].name, tf.make_ndarray(value))
        outputs = sess.run({k: t.name for k, t in definition.outputs.items()}, fed)
    print(json.dumps({key: encode(value) for key, value in outputs.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
