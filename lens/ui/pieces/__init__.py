"""What a single page needs beside its script."""
