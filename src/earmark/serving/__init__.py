"""What answers over the network: `earmark serve`, and what it shares with the studio's server."""
