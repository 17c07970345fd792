"""vicinal: vicinal training guided by generative models - mixup, done right.

    import vicinal as vc

    mix = vc.GenLabel(density=vc.densities.KDE(), gamma=0.6).fit(X, y)
    x, y = mix(x, y)

The recipes are here; everything else is in a subpackage: `vicinal.densities`, `vicinal.mixing`, `vicinal.labeling`,
`vicinal.vicinity`, `vicinal.data`, `vicinal.training`, `vicinal.estimators`, `vicinal.evaluation`. Names are imported when they
are used, so that `import vicinal` itself is quick.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
