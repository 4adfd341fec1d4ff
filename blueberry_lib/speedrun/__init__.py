"""Tracks, recipes, runs and their records."""
