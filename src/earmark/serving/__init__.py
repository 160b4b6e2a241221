"""The recognition server: recordings and live streams over HTTP and WebSocket.

It may import `web`.
"""
