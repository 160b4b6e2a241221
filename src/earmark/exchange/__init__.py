"""Import and export: the layouts in which others keep recordings, and models that others can run.

It may import `clips`, `recognizer` and `tfjs`.
"""
