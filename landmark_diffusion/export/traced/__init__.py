"""What a program of other runtimes needs of this package, in operators that ONNX has: the same results."""
