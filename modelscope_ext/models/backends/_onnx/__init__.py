"""The parts of the ONNX backend: files, tokens, pictures, a running graph, and a runner for each family of tasks."""
