"""Files on disk: writes that are whole or not there, locks that processes share, and zips from outside.

It imports nothing of Earmark but `errors`, `labels`, `progress` and `version`.
"""
