"""Making the model `words`, with PyTorch.

It may import `models` and `clips`.
"""
