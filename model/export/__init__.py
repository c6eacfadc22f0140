"""Export: ONNX graphs, golden requests, beam tuning, and the sealed bundle."""
