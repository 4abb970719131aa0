"""Moves TensorFlow models to SavedModel, frozen graph or ONNX, and proves the result."""
