"""Files on disk: writes that happen wholly or not at all, locks that processes share, and untrusted zips.

It imports only `errors`, `labels`, `progress` and `version` from Earmark.
"""
