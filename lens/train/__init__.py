"""How lens-1l, lens-2l and lens-3l were made, their text, their tokenizer and their training, all repeatable; and two
small models that are trained in seconds while people watch."""
