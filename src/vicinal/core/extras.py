"""Optional dependencies: imported when they are used, and a missing one names its pip command."""

import importlib
from types import ModuleType

__all__ = ["require"]


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module, or say how to install it.

    Args:
        module: name of the module, such as `"polars"`.
        extra: the extra of vicinal that brings it, such as `"flows"`.

    Raises:
        ImportError: the module is not installed; the message holds the pip command.

    Examples:
        >>> require("math", extra="dev").sqrt(4.0)
        2.0
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise ImportError(f"`{module}` is not installed; install it with: pip install 'vicinal[{extra}]'") from error
