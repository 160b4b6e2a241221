"""Detections in archives: the scanner, its journal, processes, Ray, and the files in which the results are written.

It may import `recognizer`.
"""
