"""Detections in archives: the scanner, its journal, processes, Ray, and the files that the results are written to.

It may import `recognizer`.
"""
