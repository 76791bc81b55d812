"""Tests; each folder is a package, so that equal file names may live in two of them."""
