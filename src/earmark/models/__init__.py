"""Networks in ONNX files: metadata, the check before they run, the runtime; and the models that ship with Earmark.

It may import `front_end`.
"""
