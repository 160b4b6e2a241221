"""Import and export: other programs' layouts of recordings, and models that other programs can run.

It may import `clips`, `recognizer` and `tfjs`.
"""
