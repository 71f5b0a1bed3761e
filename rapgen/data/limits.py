"""What a clip's sound must be: the same for what is prepared and for what is validated."""

LOWEST_RATE = 16_000  # Hz; what was sampled slower has no hats
SILENT = 1e-3  # root mean square
FULL_SCALE = 0.999
CLIPPED = 0.02  # of the samples: recorded far too loud
