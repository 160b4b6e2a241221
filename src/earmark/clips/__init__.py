"""The folder of labelled clips: files, settings, labels, collecting, and corpora in the usual layouts.

It may import `front_end` and `models`.
"""
