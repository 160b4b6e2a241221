"""How the model `words` is made, with PyTorch.

It may import `models` and `clips`.
"""
