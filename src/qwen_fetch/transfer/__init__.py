"""Bytes into files: what to fetch, who fetches which window, what follows a failure."""
