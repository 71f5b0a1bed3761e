"""Sites, by yt-dlp's names of its extractors."""

# Those that read any page: their ids say little ("audio", "1"), and only with the address tell uploads apart.
ANY_PAGE = ("generic", "html5", "html5mediaembed", "unknown")
