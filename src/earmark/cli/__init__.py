"""The `earmark` command: one module for each group of commands, and their terminal output.

It may import everything.
"""
