"""The trained model handed on: a page, an ONNX file, a model card."""
