"""The way out: envelopes to a relay, outcomes back. The port is `base`; adapters stand beside it."""
