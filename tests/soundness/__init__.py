"""Random schemas, policies, data and queries: what the compiler makes of them against what they mean, obviously."""
