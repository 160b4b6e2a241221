"""The studio: the web page and its server. docs/studio-protocol.md says how they talk."""
