"""A network in its ONNX file: metadata, the check before it runs, the runtime; and the models that ship with Earmark.

It may import `front_end`.
"""
