"""TensorFlow.js models: reading them as Earmark's own, and writing Earmark's own as such.

It may import `models`.
"""
