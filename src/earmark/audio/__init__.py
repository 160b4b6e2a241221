"""Sound: clips, sound files of every kind, resampling, streams of chunks, and which files are meant.

It may import `errors`, `labels`, `progress`, `storage` and `version`, as every package may.
"""
