"""The web page where people record, train and listen, and its server.

It may import `web` and `project`.
"""
