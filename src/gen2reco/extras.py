"""Packages that only some users need: what each extra brings, and the error without it."""

from __future__ import annotations

from importlib import import_module

from gen2reco.errors import MissingExtraError

EXTRAS = {
    "correctionlib": ("correctionlib",),
    "dask": ("distributed",),
    "hdf5": ("h5py",),
    "onnx": ("onnx", "onnx_ir", "onnxruntime", "onnxscript"),
    "tensorboard": ("tensorboard",),
    "tune": ("optuna",),
}
"""Extra -> the modules of its packages that gen2reco imports."""


def require(extra: str, what: str) -> None:
    """Import the packages of an extra, or say how to install them; before anything is read.

    Args:
        extra: name of the extra.
        what: what needs it, in words, to begin the message with.

    Raises:
        MissingExtraError: one of them is not installed or does not load.
    """
    for name in EXTRAS[extra]:
        try:
            import_module(name)
        except ImportError as error:
            raise MissingExtraError(
                f"{what} needs {name} ({error}); install it with: pip install 'gen2reco[{extra}]'"
            ) from error
