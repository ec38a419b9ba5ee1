"""What a decision was chosen over: other plans, and the locations that ranked behind. Worked out only on request."""
