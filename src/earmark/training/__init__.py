"""Training, from recordings to a model: bases, the open set, heads, and the codelab's network, all in NumPy.

It may import `recognizer` and `clips`.
"""
