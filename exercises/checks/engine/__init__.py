"""How an answer is examined and what comes of it is shown."""
