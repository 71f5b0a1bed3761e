"""What uploaders write of a beat, read: titles, tags and descriptions to musical facts."""

from rapgen.uploads.read import UploadFacts, read_upload
from rapgen.uploads.text import clean

__all__ = ["UploadFacts", "clean", "read_upload"]
