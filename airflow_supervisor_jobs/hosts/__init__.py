"""Pipes to hosts: one seam, four implementations, and the watch that rides on them."""
