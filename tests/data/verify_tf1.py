"""Loads recorded artifacts afresh in TensorFlow 1.15 and compares: ``verify_tf1.py [NAME ...]``.

Each signature gets a new graph and session that know only the files of the fixture. The scripts
that make the fixtures call ``verify`` after each of them. Set-up as in ``make_tf1_graphs.py``.
"""

import glob
import json
import os
import sys

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tf1_case import decode

HERE = os.path.dirname(os.path.abspath(__file__))
VARIABLE_OPS = {"Variable", "VariableV2", "VarHandleOp"}


def verify(folder):
    """Compares every recorded call of a fixture; returns how many there were."""
    compared = 0
    for path in sorted(glob.glob(os.path.join(folder, "case*.json"))):
        with open(path) as stream:
            case = json.load(stream)
        for name, recorded in sorted(case["signatures"].items()):
            config = tf.ConfigProto(allow_soft_placement=True)
            with tf.Graph().as_default(), tf.Session(config=config) as sess:
                inputs, outputs = LOADERS[case["format"]](sess, folder, case, name)
                for number, call in enumerate(recorded["calls"]):
                    where = "%s: call %d of %s" % (path, number, name)
                    compare(
                        sess, inputs, outputs, call, case["load"].get("fixed_inputs", {}), where
                    )
                    compared += 1
    return compared


def compare(sess, inputs, outputs, call, fixed, where):
    """Runs one call; raises where an output is not what was recorded."""
    fed = {inputs[name]: decode(value) for name, value in call["inputs"].items()}
    fed.update({name + ":0": value for name, value in fixed.items()})
    expected = {name: decode(value) for name, value in call["outputs"].items()}
    found = sess.run({name: outputs[name] for name in expected}, fed)
    for name, value in expected.items():
        actual = np.asarray(found[name])
        label = "%s: %s" % (where, name)
        assert actual.shape == value.shape, label
        if value.dtype.kind == "f":
            assert actual.dtype == value.dtype, label
            np.testing.assert_allclose(actual, value, rtol=1e-6, atol=1e-7, err_msg=label)
        else:
            np.testing.assert_array_equal(actual, value, err_msg=label)


def named(case, name):
    """Tensor names of a case's inputs and outputs; a name that is not mapped is a node's."""
    load = case["load"]
    calls = case["signatures"][name]["calls"]
    inputs = load.get("inputs") or {k: k + ":0" for k in calls[0]["inputs"]}
    outputs = load.get("outputs") or {k: k + ":0" for k in calls[0]["outputs"]}
    return inputs, outputs


def load_saved_model(sess, folder, case, name):
    path = os.path.join(folder, case["source"])
    path = next((os.path.join(path, n) for n in sorted(os.listdir(path)) if n.isdigit()), path)
    meta = tf.saved_model.loader.load(sess, case["load"].get("tags", ["serve"]), path)
    if name not in meta.signature_def:
        return named(case, name)
    definition = meta.signature_def[name]
    outputs = {key: tensor.name for key, tensor in definition.outputs.items()}
    if case["load"].get("cut_examples"):
        return parsed_features(sess), outputs
    return tensor_names(definition.inputs), outputs


def tensor_names(infos):
    """Input name to tensor name; a sparse tensor has three parts."""
    names = {}
    for key, tensor in infos.items():
        if tensor.WhichOneof("encoding") == "coo_sparse":
            for part in ("indices", "values", "dense_shape"):
                names["%s/%s" % (key, part)] = getattr(tensor.coo_sparse, part + "_tensor_name")
        else:
            names[key] = tensor.name
    return names


def parsed_features(sess):
    """Feature key to the output of the parser that holds it; all features are dense."""
    (parser,) = [op for op in sess.graph.get_operations() if op.type == "ParseExample"]
    keys = sess.run(list(parser.inputs)[2 : 2 + len(parser.get_attr("Tdense"))])
    return {key.decode(): tensor.name for key, tensor in zip(keys, parser.outputs)}


def load_graph(sess, folder, case, name):
    graph = tf.GraphDef()
    read(os.path.join(folder, case["source"]), graph)
    inputs, outputs = named(case, name)
    # A session refuses a file for ops that it does not know even where no output needs them.
    needed = [tensor.partition(":")[0] for tensor in {**inputs, **outputs}.values()]
    library = graph.library
    graph = tf.graph_util.extract_sub_graph(graph, needed)
    graph.library.CopyFrom(library)
    for node in graph.node:
        node.attr.pop("_output_shapes", None)
    tf.import_graph_def(graph, name="")
    if "checkpoint" in case["load"]:
        mapped = dict(m.split("=", 1) for m in case["load"].get("map_variables", []))
        assign(sess, os.path.join(folder, case["load"]["checkpoint"]), mapped)
    return inputs, outputs


def read(path, message):
    """Reads a message, text by its file name or, for a ``.meta``, by its first byte."""
    with open(path, "rb") as stream:
        data = stream.read()
    if path.endswith(".pbtxt") or data.startswith(b"meta_info_def {"):
        text_format.Parse(data.decode(), message)
    else:
        message.ParseFromString(data)


def assign(sess, prefix, mapped):
    """Gives each variable node the value under its own or its mapped key."""
    reader = tf.train.NewCheckpointReader(prefix)
    for op in sess.graph.get_operations():
        if op.type not in VARIABLE_OPS:
            continue
        key = mapped.get(op.name)
        if key is None:
            key = mapped.get("*", "*").replace("*", op.name)
        value = tf.constant(reader.get_tensor(key))
        if op.type == "VarHandleOp":
            sess.run(tf.raw_ops.AssignVariableOp(resource=op.outputs[0], value=value))
        else:
            sess.run(tf.assign(op.outputs[0], value).op)


def load_meta_graph(sess, folder, case, name):
    path = os.path.join(folder, case["source"])
    meta = restore(sess, path, path[: -len(".meta")])
    if name not in meta.signature_def:
        return named(case, name)
    definition = meta.signature_def[name]
    return tensor_names(definition.inputs), tensor_names(definition.outputs)


def load_checkpoint(sess, folder, case, name):
    prefix = os.path.join(folder, case["source"])
    if os.path.exists(os.path.join(prefix, "checkpoint")):
        latest = tf.train.get_checkpoint_state(prefix).model_checkpoint_path
        prefix = os.path.join(prefix, os.path.basename(latest))
    elif prefix.endswith(".index"):
        prefix = prefix[: -len(".index")]
    restore(sess, prefix + ".meta", prefix)
    return named(case, name)


def restore(sess, graph, prefix):
    meta = tf.MetaGraphDef()
    read(graph, meta)
    saver = tf.train.import_meta_graph(meta)
    if glob.glob(prefix + "-?????-of-?????"):
        prefix += "-?????-of-?????"
    saver_def = saver.saver_def
    sess.run(saver_def.restore_op_name, {saver_def.filename_tensor_name: prefix})
    sess.run(tf.get_collection(tf.GraphKeys.TABLE_INITIALIZERS))
    return meta


LOADERS = {
    "savedmodel": load_saved_model,
    "graphdef": load_graph,
    "metagraph": load_meta_graph,
    "checkpoint": load_checkpoint,
}


def main(names):
    for name in names or sorted(os.listdir(os.path.join(HERE, "tf1"))):
        print("%-30s %d calls" % (name, verify(os.path.join(HERE, "tf1", name))))


if __name__ == "__main__":
    main(sys.argv[1:])
