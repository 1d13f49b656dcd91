"""How much a sample must hold before an interval or a verdict is made of it. Imports nothing: menus read it too."""

MIN_SAMPLES = 16  # below it there are points, but no intervals and no verdicts
MIN_LEVELS = 8  # of frames, and of names: below it 95% intervals miss far too often, however many pairs there are
