"""Pure: a template becomes a plan (render, parse, ownership, measurements, bounding, release query)."""
