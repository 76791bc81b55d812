"""Cleanroom: a data clean room with differential privacy, as serverless functions in the user's own AWS account."""
