"""Every error a user can cause: one line that says what is wrong and what to do about it (exit code 2)."""


class RapgenError(Exception):
    """Base of all errors a user can cause; the CLI prints its message alone and exits with 2."""


class RecipeError(RapgenError):
    """A recipe that does not parse, or names an unknown key, option or component."""


class PluginError(RapgenError):
    """A plugin that is missing, broken, or of no use for what a recipe asks of it."""


class AudioError(RapgenError):
    """Audio that cannot be read, is empty, or cannot be written."""


class PromptError(RapgenError):
    """A prompt that cannot be acted on: empty, absurdly long, a length out of range."""


class ModelError(RapgenError):
    """A run or bundle that is missing, incomplete or damaged."""


class MismatchError(ModelError):
    """Two artefacts that were not made for each other: an identity differs in more than its version."""


class LostError(RapgenError):
    """Another process that trains the same model has ended; what it says of itself says more."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory, the machine's or the accelerator's, has run out; told without importing torch."""
    if type(error).__name__ in ("MemoryError", "OutOfMemoryError"):
        return True
    told = str(error).lower()
    return any(words in told for words in ("defaultcpuallocator", "cannot allocate memory", "failed to map segment"))
