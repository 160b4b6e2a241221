"""Measuring how good a recognizer is: measures, cross-validation, advice and the report.

It may import `training`, `recognizer` and `clips`.
"""
