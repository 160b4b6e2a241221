"""The command `earmark`: one module for each group of commands, and what they show on the terminal.

It may import everything.
"""
