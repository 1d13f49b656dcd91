"""All heads on a corpus: where they look by distance, on which tokens, and the text of single looks."""
