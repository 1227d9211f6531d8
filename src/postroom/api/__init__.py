"""HTTP in and out: who asks, what they sent, what they get back. All decisions about emails are made below it."""
