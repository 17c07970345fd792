"""Images: read, subset, augmented, and corrupted as benchmarks of robustness corrupt them.

`read_images` gives an `ImageProblem` of bytes and labels, `augment` a batch's usual shifts and mirrors, `corrupt_images` and
`read_corrupted` the fifteen corruptions of Hendrycks & Dietterich (2019) at five severities. Reading and corrupting need the
extra `images`; nothing here loads it before it is used.

Examples:
    >>> from vicinal.data.images import CORRUPTIONS, SEVERITIES
    >>> len(CORRUPTIONS), SEVERITIES
    (15, (1, 2, 3, 4, 5))
"""

from vicinal.data.images.augmentation import augment
from vicinal.data.images.corrupt import corrupt_images
from vicinal.data.images.corruptions import CORRUPTION_GROUPS, CORRUPTIONS, SEVERITIES, CorruptedSet
from vicinal.data.images.places import image_folder
from vicinal.data.images.published import read_corrupted
from vicinal.data.images.read import IMAGE_PROBLEMS, read_images
from vicinal.data.images.sets import ImageProblem, ImageSet

__all__ = [
    "CORRUPTIONS",
    "CORRUPTION_GROUPS",
    "IMAGE_PROBLEMS",
    "SEVERITIES",
    "CorruptedSet",
    "ImageProblem",
    "ImageSet",
    "augment",
    "corrupt_images",
    "image_folder",
    "read_corrupted",
    "read_images",
]
