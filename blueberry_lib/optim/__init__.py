"""Muon, the iterations behind it, the split between Muon and AdamW, and learning-rate schedules."""
