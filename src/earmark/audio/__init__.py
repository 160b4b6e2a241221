"""Sound: clips, sound files of every kind, resampling, streams of chunks, and finding the files that a user names.

It may import `errors`, `labels`, `progress`, `storage` and `version`, as every package may.
"""
