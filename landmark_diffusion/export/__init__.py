"""What is handed over: model card, ONNX, and the facts gathered for them."""
