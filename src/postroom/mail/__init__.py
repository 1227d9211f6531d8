"""The vocabulary of email: pure values and arithmetic, no input or output, no clock."""
