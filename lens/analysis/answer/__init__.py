"""What a model answers, and why: the parts of one number (a logit, an attention score), summed without a remainder."""
