"""The chain of evidence for one head, one file per link: ``find`` computes it, ``draw`` shows it, short or in full."""
