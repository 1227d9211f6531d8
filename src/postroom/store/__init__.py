"""The truth: every accepted email, its state, and the claims on it. The port is `base`; adapters stand beside it."""
