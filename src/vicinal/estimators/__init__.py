"""scikit-learn estimators: a classifier, its cross-validated form, a generative classifier, a sampler and a wrapper."""

from vicinal.estimators.classifier import VicinalClassifier
from vicinal.estimators.cv import VicinalClassifierCV
from vicinal.estimators.generative import GenerativeClassifier
from vicinal.estimators.sampler import VicinalSampler
from vicinal.estimators.wrapper import VicinalWrapper

__all__ = ["GenerativeClassifier", "VicinalClassifier", "VicinalClassifierCV", "VicinalSampler", "VicinalWrapper"]
