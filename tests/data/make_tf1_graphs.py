"""Makes the GraphDefs, MetaGraphs and checkpoints of ``tests/data/tf1`` with TensorFlow 1.15.

Set-up: CPython 3.7, ``pip install tensorflow==1.15.5 'protobuf<3.21' 'numpy<1.19'``; then
``python tests/data/make_tf1_graphs.py [NAME ...]``.
"""

import glob
import os
import shutil
import sys

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.python.framework import function
from tf1_case import write_case
from verify_tf1 import verify

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = {}
RANDOM = np.random.RandomState(11)


def fixture(make):
    """Registers a fixture under its function's name."""
    FIXTURES[make.__name__] = make
    return make


def floats(*shape):
    return RANDOM.uniform(-1, 1, shape).astype(np.float32)


def constant(*shape):
    return tf.constant(floats(*shape))


def run(sess, inputs, outputs, calls):
    """What each call of named arrays gives for named tensors."""
    recorded = []
    for feeds in calls:
        fed = {inputs[name]: value for name, value in feeds.items()}
        recorded.append((feeds, sess.run(outputs, fed)))
    return recorded


def frozen(folder, inputs, outputs, calls, edit=None, text=False, infer=False, **case):
    """Freezes the default graph and records its calls."""
    with tf.Session() as sess:
        sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
        recorded = run(sess, inputs, outputs, calls)
        names = [t.op.name for t in outputs.values()] + case.pop("keep", [])
        graph = tf.graph_util.convert_variables_to_constants(
            sess, tf.get_default_graph().as_graph_def(), names
        )
    if edit:
        edit(graph)
    write_graph(folder, graph, text)
    load = (
        {}
        if infer
        else {
            "inputs": {k: t.name for k, t in inputs.items()},
            "outputs": {k: t.name for k, t in outputs.items()},
        }
    )
    signatures = {"serving_default": recorded} if recorded else {}
    write_case(folder, "graph.pbtxt" if text else "graph.pb", "graphdef", signatures, load, **case)


def write_graph(folder, graph, text=False):
    name = "graph.pbtxt" if text else "graph.pb"
    with open(os.path.join(folder, name), "wb") as stream:
        data = text_format.MessageToString(graph).encode() if text else graph.SerializeToString()
        stream.write(data)


def mlp(x, units=(4, 2)):
    for i, n in enumerate(units):
        w = tf.get_variable("w%d" % i, initializer=constant(int(x.shape[-1]), n))
        b = tf.get_variable("b%d" % i, initializer=constant(n))
        x = tf.nn.relu(tf.matmul(x, w) + b) if i + 1 < len(units) else tf.matmul(x, w) + b
    return x


def x_input(*shape):
    return tf.placeholder(tf.float32, [None] + list(shape), name="x")


@fixture
def frozen_mlp(folder):
    """A frozen network."""
    x = x_input(3)
    frozen(
        folder,
        {"x": x},
        {"y": tf.nn.softmax(mlp(x), name="y")},
        [{"x": floats(2, 3)}, {"x": floats(1, 3)}],
    )


@fixture
def frozen_mlp_text(folder):
    """The same in text form."""
    x = x_input(3)
    frozen(
        folder,
        {"x": x},
        {"y": tf.nn.softmax(mlp(x), name="y")},
        [{"x": floats(2, 3)}, {"x": floats(1, 3)}],
        text=True,
    )


@fixture
def while_loop(folder):
    """A V1 while loop whose count is an input."""
    x, n = x_input(2), tf.placeholder(tf.int32, [], name="n")
    w = tf.get_variable("w", initializer=constant(2, 2))
    _, y = tf.while_loop(
        lambda i, v: i < n, lambda i, v: (i + 1, tf.tanh(tf.matmul(v, w))), [tf.constant(0), x]
    )
    y = tf.identity(y, name="y")
    frozen(
        folder,
        {"x": x, "n": n},
        {"y": y},
        [{"x": floats(2, 2), "n": np.int32(3)}, {"x": floats(1, 2), "n": np.int32(0)}],
    )


@fixture
def nested_while(folder):
    """A V1 while loop in another."""
    x = x_input(2)

    def outer(i, v):
        _, v = tf.while_loop(lambda j, u: j < i + 1, lambda j, u: (j + 1, u * 1.5 + 0.25), [0, v])
        return i + 1, v

    _, y = tf.while_loop(lambda i, v: i < 3, outer, [tf.constant(0), x])
    frozen(
        folder,
        {"x": x},
        {"y": tf.identity(y, name="y")},
        [{"x": floats(2, 2)}, {"x": floats(1, 2)}],
    )


@fixture
def cond(folder):
    """A V1 cond."""
    x = x_input(2)
    y = tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2, lambda: tf.exp(x))
    frozen(
        folder,
        {"x": x},
        {"y": tf.identity(y, name="y")},
        [{"x": np.abs(floats(2, 2))}, {"x": -np.abs(floats(1, 2))}],
    )


@fixture
def dynamic_rnn(folder):
    """A V1 dynamic RNN (a while loop with TensorArrays)."""
    x = x_input(4, 3)
    lengths = tf.placeholder(tf.int32, [None], name="lengths")
    outputs, state = tf.nn.dynamic_rnn(
        tf.nn.rnn_cell.GRUCell(3, kernel_initializer=tf.random_uniform_initializer(-1, 1, seed=2)),
        x,
        lengths,
        dtype=tf.float32,
    )
    frozen(
        folder,
        {"x": x, "lengths": lengths},
        {"y": tf.identity(outputs, name="y"), "h": tf.identity(state, name="h")},
        [
            {"x": floats(2, 4, 3), "lengths": np.array([4, 1], np.int32)},
            {"x": floats(1, 4, 3), "lengths": np.array([2], np.int32)},
        ],
    )


@fixture
def tensor_array(folder):
    """A TensorArray written in a loop, through map_fn."""
    x = x_input(3)
    y = tf.map_fn(lambda row: tf.cumsum(row) * 2, x)
    frozen(
        folder,
        {"x": x},
        {"y": tf.identity(y, name="y")},
        [{"x": floats(3, 3)}, {"x": floats(1, 3)}],
    )


@fixture
def function_library(folder):
    """Functions in the graph's library, one calling another."""

    @function.Defun(tf.float32)
    def twice(v):
        return v * 2

    @function.Defun(tf.float32)
    def shifted(v):
        return twice(v) + 1

    x = x_input(2)
    y = shifted(x)
    y.set_shape([None, 2])
    calls = [{"x": floats(2, 2)}, {"x": floats(1, 2)}]
    frozen(folder, {"x": x}, {"y": tf.identity(y, name="y")}, calls)


@fixture
def partitioned_call(folder):
    """A tf.function in a frozen graph: a PartitionedCall with a branch inside."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def scaled(v):
        return tf.cond(tf.reduce_sum(v) > 0, lambda: v * 2, lambda: v - 3)

    x = x_input(2)
    y = tf.identity(scaled(x), name="y")
    calls = [{"x": np.abs(floats(2, 2))}, {"x": -np.abs(floats(1, 2))}]
    frozen(folder, {"x": x}, {"y": y}, calls)


@fixture
def unknown_rank(folder):
    """A placeholder of unknown rank."""
    x = tf.placeholder(tf.float32, name="x")
    frozen(
        folder,
        {"x": x},
        {"y": tf.multiply(tf.tanh(x), 3.0, name="y")},
        [{"x": floats(2, 3)}, {"x": floats(4)}],
    )


@fixture
def unused_placeholders(folder):
    """Placeholders that no output needs."""
    x = x_input(2)
    tf.placeholder(tf.float32, [None], name="unused")

    def edit(graph):
        node = graph.node.add(name="left_over", op="Placeholder")
        node.attr["dtype"].type = 1

    calls = [{"x": floats(2, 2)}, {"x": floats(1, 2)}]
    frozen(folder, {"x": x}, {"y": tf.negative(x, name="y")}, calls, edit, infer=True)


@fixture
def stale_output_shapes(folder):
    """Wrong _output_shapes on nodes, needed and unneeded."""
    x = x_input(3)

    def edit(graph):
        for node in graph.node:
            shape = node.attr["_output_shapes"].list.shape.add()
            shape.dim.add(size=17)
            shape.dim.add(size=-5)

    y = tf.nn.softmax(mlp(x), name="y")
    frozen(folder, {"x": x}, {"y": y}, [{"x": floats(2, 3)}, {"x": floats(1, 3)}], edit)


def unknown_op_edit(consumer):
    def edit(graph):
        node = graph.node.add(name="future", op="FooBarFromTheFuture")
        node.input.append("x")
        node.attr["T"].type = 1
        for other in graph.node:
            if other.name == consumer:
                other.input[0] = "future"

    return edit


@fixture
def unknown_op_offpath(folder):
    """An op that no TensorFlow knows, off the path."""
    x = x_input(2)
    frozen(
        folder,
        {"x": x},
        {"y": tf.negative(x, name="y")},
        [{"x": floats(2, 2)}, {"x": floats(1, 2)}],
        unknown_op_edit(""),
    )


@fixture
def unknown_op(folder):
    """An op that no TensorFlow knows, on the path; to be refused."""
    x = x_input(2)
    frozen(folder, {"x": x}, {"y": tf.negative(x, name="y")}, [], unknown_op_edit("y"))


def conv_net(image):
    kernel = tf.get_variable("kernel", initializer=constant(3, 3, 2, 4))
    x = tf.nn.relu(tf.nn.conv2d(image, kernel, [1, 2, 2, 1], "SAME"))
    x = tf.reshape(x, [-1, 4 * 4 * 4])
    return mlp(x, (3,))


@fixture
def frozen_no_names(folder):
    """A convolutional classifier whose input and output must be inferred."""
    image = tf.placeholder(tf.float32, [None, 8, 8, 2], name="image")
    prob = tf.nn.softmax(conv_net(image), name="prob")
    frozen(
        folder,
        {"image": image},
        {"prob": prob},
        [{"image": floats(2, 8, 8, 2)}, {"image": floats(1, 8, 8, 2)}],
        infer=True,
    )


@fixture
def frozen_with_training(folder):
    """The same with a loss, an accuracy and gradients left over."""
    image = tf.placeholder(tf.float32, [None, 8, 8, 2], name="image")
    labels = tf.placeholder(tf.int64, [None], name="labels")
    logits = conv_net(image)
    prob = tf.nn.softmax(logits, name="prob")
    loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits), name="loss"
    )
    hits = tf.equal(tf.argmax(prob, 1), labels)
    accuracy = tf.reduce_mean(tf.cast(hits, tf.float32), name="accuracy")
    gradient = tf.gradients(loss, tf.trainable_variables())[0]
    frozen(
        folder,
        {"image": image},
        {"prob": prob},
        [{"image": floats(2, 8, 8, 2)}, {"image": floats(1, 8, 8, 2)}],
        infer=True,
        keep=[loss.op.name, accuracy.op.name, gradient.op.name],
    )


@fixture
def ambiguous(folder):
    """Two outputs that are equally sensible; to be refused with the list."""
    x = x_input(3)
    h = tf.nn.relu(x)
    first = tf.multiply(h, 2.0, name="first")
    second = tf.multiply(h, 3.0, name="second")
    frozen(folder, {"x": x}, {"first": first, "second": second}, [], infer=True)


def save_checkpoint(folder, prefix="model.ckpt", meta=True, variables=None, train=None, **saver):
    """Initialises, trains and saves the variables; returns an open session."""
    config = tf.ConfigProto(allow_soft_placement=True, device_count={"CPU": 2})
    sess = tf.Session(config=config)
    sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
    if train:
        train(sess)
    made = tf.train.Saver(variables, **saver)
    path = os.path.join(folder, prefix)
    if not os.path.isdir(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path))
    made.save(sess, path, write_meta_graph=meta, write_state=False)
    return sess


def named(inputs, outputs, **more):
    return dict(
        inputs={k: t.name for k, t in inputs.items()},
        outputs={k: t.name for k, t in outputs.items()},
        **more,
    )


def graph_and_checkpoint(folder, x, y, **more):
    variables = more.pop("variables", None)
    prefix = more.pop("prefix", "model.ckpt")
    with save_checkpoint(folder, prefix, meta=False, variables=variables) as sess:
        recorded = run(sess, {"x": x}, {"y": y}, [{"x": floats(2, 3)}, {"x": floats(1, 3)}])
    write_graph(folder, tf.get_default_graph().as_graph_def(), text=True)
    write_case(
        folder,
        "graph.pbtxt",
        "graphdef",
        {"serving_default": recorded},
        named({"x": x}, {"y": y}, checkpoint=prefix, **more),
    )


@fixture
def graphdef_checkpoint(folder):
    """A graph and a checkpoint without .meta, reference variables."""
    x = x_input(3)
    graph_and_checkpoint(folder, x, tf.nn.softmax(mlp(x), name="y"))


@fixture
def graphdef_checkpoint_resource(folder):
    """The same with resource variables, the checkpoint in another folder."""
    x = x_input(3)
    with tf.variable_scope("", use_resource=True):
        y = tf.nn.softmax(mlp(x), name="y")
    graph_and_checkpoint(folder, x, y, prefix="elsewhere/ck-7")


@fixture
def graphdef_moving_average(folder):
    """The checkpoint holds moving averages under keys of their own."""
    x = x_input(3)
    y = tf.nn.softmax(mlp(x), name="y")
    saved = {v.op.name + "/ExponentialMovingAverage": v for v in tf.trainable_variables()}
    graph_and_checkpoint(
        folder, x, y, variables=saved, map_variables=["*=*/ExponentialMovingAverage"]
    )


def averaged_network(training):
    h = mlp(x_input(3), (4,))
    h = tf.layers.batch_normalization(h, training=training, momentum=0.5, name="bn")
    with tf.variable_scope("top"):
        return mlp(h, (2,))


@fixture
def graphdef_averages_trained(folder):
    """A trained checkpoint with raw weights, averages and slots; the graph only infers.

    Batch norm's statistics have no average: the map names them one by one.
    """
    loss = tf.reduce_mean(tf.squared_difference(averaged_network(True), [1.0, -1.0]))
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        step = tf.train.AdamOptimizer(0.1).minimize(loss)
    with tf.control_dependencies([step]):
        step = tf.train.ExponentialMovingAverage(0.8).apply(tf.trainable_variables())

    def train(sess):
        for _ in range(10):
            sess.run(step, {"x:0": floats(8, 3)})

    save_checkpoint(folder, meta=False, train=train).close()
    tf.reset_default_graph()
    y = tf.nn.softmax(averaged_network(False), name="y")
    x = tf.get_default_graph().get_tensor_by_name("x:0")
    graph = tf.get_default_graph().as_graph_def()
    averaged = tf.train.ExponentialMovingAverage(0.8).variables_to_restore()
    with tf.Session() as sess:
        tf.train.Saver(averaged).restore(sess, os.path.join(folder, "model.ckpt"))
        recorded = run(sess, {"x": x}, {"y": y}, [{"x": floats(2, 3)}, {"x": floats(1, 3)}])
    write_graph(folder, graph, text=True)
    mapped = ["*=*/ExponentialMovingAverage"]
    mapped += ["bn/%s=bn/%s" % (n, n) for n in ("moving_mean", "moving_variance")]
    load = named({"x": x}, {"y": y}, checkpoint="model.ckpt", map_variables=mapped)
    write_case(folder, "graph.pbtxt", "graphdef", {"serving_default": recorded}, load)


@fixture
def graphdef_renamed(folder):
    """One variable has another key in the checkpoint."""
    x = x_input(3)
    y = tf.nn.softmax(mlp(x), name="y")
    saved = {("kernel" if v.op.name == "w0" else v.op.name): v for v in tf.trainable_variables()}
    graph_and_checkpoint(folder, x, y, variables=saved, map_variables=["w0=kernel"])


def meta_graph(folder, inputs, outputs, calls, source=None, prefix="model.ckpt", **case):
    saver = dict(case.pop("saver", {}), train=case.pop("train", None))
    fixed = case.pop("fixed", {})
    edit = case.pop("edit", None)
    format = case.pop("format", "metagraph")
    tensors = tf.get_default_graph().get_tensor_by_name
    with save_checkpoint(folder, prefix, **saver) as sess:
        fed = dict(inputs, **{name: tensors(name + ":0") for name in fixed})
        recorded = run(sess, fed, outputs, [dict(c, **fixed) for c in calls])
    recorded = [({k: v for k, v in i.items() if k not in fixed}, o) for i, o in recorded]
    if edit:
        edit(os.path.join(folder, prefix + ".meta"))
    load = named(inputs, outputs)
    if fixed:
        load["fixed_inputs"] = fixed
    write_case(
        folder, source or prefix + ".meta", format, {"serving_default": recorded}, load, **case
    )


def training_graph():
    """Adam slots, dropout, batch norm with an is_training input, summaries."""
    x = x_input(3)
    labels = tf.placeholder(tf.int64, [None], name="labels")
    is_training = tf.placeholder(tf.bool, [], name="is_training")
    keep_prob = tf.placeholder(tf.float32, [], name="keep_prob")
    h = tf.layers.dense(
        x, 4, tf.nn.relu, kernel_initializer=tf.random_uniform_initializer(-1, 1, 3)
    )
    h = tf.layers.batch_normalization(h, training=is_training)
    h = tf.nn.dropout(h, keep_prob)
    logits = tf.layers.dense(h, 2, kernel_initializer=tf.random_uniform_initializer(-1, 1, 4))
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    tf.summary.scalar("loss", loss)
    step = tf.train.get_or_create_global_step()
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        step = tf.train.AdamOptimizer(0.05).minimize(loss, step)
    tf.summary.merge_all()

    def train(sess):
        for _ in range(20):
            batch = 2 * floats(16, 3) + 0.5
            fed = {x: batch, labels: batch[:, 0] > 0, is_training: True, keep_prob: 0.8}
            sess.run(step, fed)

    return x, tf.nn.softmax(logits, name="prob"), train


FIXED = {"is_training": False, "keep_prob": 1.0}


@fixture
def metagraph_train(folder):
    """A real training graph after some steps: batch norm and Adam have moved."""
    x, prob, train = training_graph()
    calls = [{"x": floats(2, 3)}, {"x": floats(5, 3)}]
    meta_graph(folder, {"x": x}, {"prob": prob}, calls, fixed=FIXED, train=train)


@fixture
def metagraph_text(folder):
    """The MetaGraph in text form."""
    x = x_input(3)
    y = tf.nn.softmax(mlp(x), name="y")

    def edit(path):
        tf.train.export_meta_graph(path, as_text=True)

    meta_graph(folder, {"x": x}, {"y": y}, [{"x": floats(2, 3)}, {"x": floats(1, 3)}], edit=edit)


def simple_meta(folder, **more):
    x = x_input(3)
    y = tf.nn.softmax(mlp(x), name="y")
    meta_graph(folder, {"x": x}, {"y": y}, [{"x": floats(2, 3)}, {"x": floats(1, 3)}], **more)


@fixture
def checkpoint_v1(folder):
    """A V1 checkpoint."""
    simple_meta(folder, saver={"write_version": tf.train.SaverDef.V1})


def on_two_devices(folder, **saver):
    """Two layers on two CPU devices, so that a sharded saver writes two shards."""
    x = h = x_input(3)
    for i, units in enumerate((4, 2)):
        with tf.device("/cpu:%d" % i):
            w = tf.get_variable("w%d" % i, initializer=constant(int(h.shape[-1]), units))
            h = tf.matmul(h, w)
    y = tf.nn.softmax(h, name="y")
    calls = [{"x": floats(2, 3)}, {"x": floats(1, 3)}]
    meta_graph(folder, {"x": x}, {"y": y}, calls, saver=dict(sharded=True, **saver))
    assert glob.glob(os.path.join(folder, "*-00001-of-00002"))


@fixture
def sharded(folder):
    """A V2 checkpoint of two shards."""
    on_two_devices(folder)


@fixture
def sharded_v1(folder):
    """A V1 checkpoint of two shards."""
    on_two_devices(folder, write_version=tf.train.SaverDef.V1)


@fixture
def py_func_graph(folder):
    """A Python function on the path of a bare graph; to be refused."""
    x = x_input(2)
    y = tf.identity(tf.py_func(lambda v: np.sin(v), [x], tf.float32), name="y")
    frozen(folder, {"x": x}, {"y": y}, [])


@fixture
def metagraph_signature(folder):
    """A MetaGraph that has a signature of its own."""

    def edit(path):
        meta = tf.MetaGraphDef()
        with open(path, "rb") as stream:
            meta.ParseFromString(stream.read())
        graph = tf.get_default_graph()
        tensors = [graph.get_tensor_by_name(name) for name in ("x:0", "y:0")]
        definition = tf.saved_model.predict_signature_def({"in": tensors[0]}, {"out": tensors[1]})
        meta.signature_def["serving_default"].CopyFrom(definition)
        with open(path, "wb") as stream:
            stream.write(meta.SerializeToString())

    x = x_input(3)
    y = tf.nn.softmax(mlp(x), name="y")
    with save_checkpoint(folder) as sess:
        recorded = run(sess, {"in": x}, {"out": y}, [{"in": floats(2, 3)}, {"in": floats(1, 3)}])
    edit(os.path.join(folder, "model.ckpt.meta"))
    write_case(folder, "model.ckpt.meta", "metagraph", {"serving_default": recorded})


@fixture
def queue_input(folder):
    """A queue pipeline; the dequeued tensor is fed."""
    data = tf.constant(floats(8, 3))
    row = tf.train.slice_input_producer([data], shuffle=False)[0]
    x = tf.train.batch([row], 2)
    y = tf.nn.softmax(mlp(x), name="y")
    meta_graph(folder, {"x": x}, {"y": y}, [{"x": floats(2, 3)}])


@fixture
def iterator_input(folder):
    """A dataset iterator; its output is fed."""
    dataset = tf.data.Dataset.from_tensor_slices(floats(8, 3)).batch(2)
    x = tf.data.make_one_shot_iterator(dataset).get_next()
    y = tf.nn.softmax(mlp(x), name="y")
    meta_graph(folder, {"x": x}, {"y": y}, [{"x": floats(2, 3)}, {"x": floats(3, 3)}])


@fixture
def gpu_devices(folder):
    """Nodes placed on a GPU."""
    with tf.device("/gpu:0"):
        simple_meta(folder)


@fixture
def producer_0_12(folder):
    """A file of 2016: producer 0.12.head, Variable instead of VariableV2, inconsistent shapes."""

    def edit(path):
        meta = tf.MetaGraphDef()
        with open(path, "rb") as stream:
            meta.ParseFromString(stream.read())
        meta.meta_info_def.tensorflow_version = "0.12.head"
        meta.graph_def.versions.producer = 17
        for node in meta.graph_def.node:
            if node.op == "VariableV2":
                node.op = "Variable"
            if node.name.startswith("save/"):
                node.attr["_output_shapes"].list.shape.add().dim.add(size=99)
        with open(path, "wb") as stream:
            stream.write(meta.SerializeToString())

    simple_meta(folder, edit=edit)


@fixture
def checkpoint_folder(folder):
    """A folder with a checkpoint file and two checkpoints."""
    x = x_input(3)
    y = tf.nn.softmax(mlp(x), name="y")
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        saver = tf.train.Saver()
        path = os.path.join(folder, "run", "model.ckpt")
        os.makedirs(os.path.dirname(path))
        saver.save(sess, path, 1)
        sess.run(tf.global_variables()[0].assign_add(tf.ones([3, 4])))
        saver.save(sess, path, 2)
        recorded = run(sess, {"x": x}, {"y": y}, [{"x": floats(2, 3)}, {"x": floats(1, 3)}])
    state = os.path.join(folder, "run", "checkpoint")
    with open(state) as stream:
        text = stream.read().replace(os.path.join(folder, "run"), "/home/somebody/run")
    with open(state, "w") as stream:
        stream.write(text)
    load = named({"x": x}, {"y": y})
    write_case(folder, "run", "checkpoint", {"serving_default": recorded}, load)


@fixture
def hidden_prefix(folder):
    """A prefix that is a hidden file."""
    simple_meta(folder, prefix=".ckpt", source=".ckpt", format="checkpoint")


@fixture
def slash_prefix(folder):
    """A prefix that ends in a slash."""
    x = x_input(3)
    y = tf.nn.softmax(mlp(x), name="y")
    with save_checkpoint(folder, "ck/model") as sess:
        recorded = run(sess, {"x": x}, {"y": y}, [{"x": floats(2, 3)}, {"x": floats(1, 3)}])
    for path in glob.glob(os.path.join(folder, "ck", "model*")):
        os.rename(path, path.replace("ck/model", "ck/"))
    load = named({"x": x}, {"y": y})
    write_case(folder, "ck/", "checkpoint", {"serving_default": recorded}, load)


@fixture
def index_file(folder):
    """The .index file is named."""
    simple_meta(folder, source="model.ckpt.index", format="checkpoint")


@fixture
def checkpoint_no_graph(folder):
    """A checkpoint without any graph; to be refused."""
    mlp(x_input(3))
    save_checkpoint(folder, meta=False).close()
    write_case(folder, "model.ckpt", "checkpoint", {}, notes="refused: no graph")


@fixture
def partitioned_meta(folder):
    """Partitioned variables in a MetaGraph."""
    ids = tf.placeholder(tf.int64, [None], name="ids")
    with tf.variable_scope("emb", partitioner=tf.fixed_size_partitioner(3)):
        table = tf.get_variable("t", [7, 4], initializer=tf.random_uniform_initializer(-1, 1, 5))
    y = tf.identity(tf.nn.embedding_lookup(table, ids, partition_strategy="div"), name="y")
    calls = [{"ids": np.array([0, 6, 3])}, {"ids": np.array([5])}]
    meta_graph(folder, {"ids": ids}, {"y": y}, calls)


@fixture
def metagraph_var_kinds(folder):
    """VariableV2 and VarHandleOp in one graph."""
    x = x_input(3)
    a = tf.get_variable("a", initializer=constant(3), use_resource=True)
    b = tf.get_variable("b", initializer=constant(3), use_resource=False)
    y = tf.add(x * a, b, name="y")
    meta_graph(folder, {"x": x}, {"y": y}, [{"x": floats(2, 3)}, {"x": floats(1, 3)}])


@fixture
def metagraph_table(folder):
    """A table in the TABLE_INITIALIZERS collection of a MetaGraph."""
    words = tf.placeholder(tf.string, [None], name="words")
    weights = tf.get_variable("weights", initializer=constant(3))
    ids = tf.contrib.lookup.index_table_from_tensor(["a", "b", "c"], default_value=0).lookup(words)
    y = tf.gather(weights, ids, name="y")
    with save_checkpoint(folder) as sess:
        sess.run(tf.tables_initializer())
        calls = [{"words": np.array(c, object)} for c in ([b"c", b"?"], [b"b"])]
        recorded = run(sess, {"words": words}, {"y": y}, calls)
    load = named({"words": words}, {"y": y})
    write_case(folder, "model.ckpt.meta", "metagraph", {"serving_default": recorded}, load)


def main(names):
    for name in names or FIXTURES:
        folder = os.path.join(HERE, "tf1", name)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        tf.reset_default_graph()
        tf.set_random_seed(1)
        RANDOM.seed(sum(map(ord, name)))
        FIXTURES[name](folder)
        print(name, verify(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
