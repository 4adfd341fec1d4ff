"""From a corpus to batches: documents, tokens, shards."""
