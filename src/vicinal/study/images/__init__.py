"""Studies of images: the VarMixup paper's comparison, and one's own.

protocol, methods --> plan (a unit for every data set, method and trial) --> work (train, evaluate) --> records
"""

from vicinal.study.images.evaluate import (
    corrupted_images,
    evaluate_classifier,
    evaluate_samples,
    evaluate_training,
)
from vicinal.study.images.methods import IMAGE_METHODS, ImageMethod, read_image_methods
from vicinal.study.images.pictures import sample_grid, space_picture
from vicinal.study.images.plan import ImageUnit, make_image_plan
from vicinal.study.images.protocol import ImageProtocol, read_image_protocol
from vicinal.study.images.single import Evaluated, evaluate_checkpoints, summarize_images
from vicinal.study.images.train import Quality, Trained, quality_of, space_for, train_judge, train_method
from vicinal.study.images.work import corrupt_ahead, run_image_unit

__all__ = [
    "IMAGE_METHODS",
    "Evaluated",
    "ImageMethod",
    "ImageProtocol",
    "ImageUnit",
    "Quality",
    "Trained",
    "corrupt_ahead",
    "corrupted_images",
    "evaluate_checkpoints",
    "evaluate_classifier",
    "evaluate_samples",
    "evaluate_training",
    "make_image_plan",
    "quality_of",
    "read_image_methods",
    "read_image_protocol",
    "run_image_unit",
    "sample_grid",
    "space_for",
    "space_picture",
    "summarize_images",
    "train_judge",
    "train_method",
]
