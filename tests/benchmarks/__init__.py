import lens  # noqa: F401 - before torch, whose threads then wait as they do in the app
