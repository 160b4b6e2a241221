"""From sound to what a network sees: spectrograms, frames, windows, recordings and examples.

It may import `audio`.
"""
