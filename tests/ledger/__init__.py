"""The ledger under fire: a reference model, random commands with faults and crashes, planted faults, many at once."""
