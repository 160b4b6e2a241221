"""TensorFlow.js models, read as ours and written from ours.

It may import `models`.
"""
