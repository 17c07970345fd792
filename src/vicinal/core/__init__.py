"""The floor of the house: randomness with an address, checks, components, mixed batches, lazy extras.

Names are imported when they are used: what reads records or asks for the version does not wait for torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
