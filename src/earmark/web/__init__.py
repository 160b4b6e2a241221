"""What both servers share: the guard, limits, batches of windows, streams that are being heard, and how a server runs.

It may import `recognizer`.
"""
