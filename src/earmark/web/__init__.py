"""What both servers share: the guard, limits, batched scoring, recognizers on live streams, and running a server.

It may import `recognizer`.
"""
