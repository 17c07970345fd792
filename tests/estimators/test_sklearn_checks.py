"""scikit-learn's own checks, all of them, with no expected failures."""

from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from vicinal.densities import KDE, KNN, Gaussian
from vicinal.estimators import (
    GenerativeClassifier,
    VicinalClassifier,
    VicinalClassifierCV,
    VicinalSampler,
    VicinalWrapper,
)
from vicinal.vicinity import GenLabel, Mixup, MixupExcludingIntrusion, Vanilla

ESTIMATORS = [
    VicinalClassifier(),
    VicinalClassifier(vicinity=MixupExcludingIntrusion(), epochs=200),
    VicinalClassifier(vicinity=GenLabel(KNN()), hidden=(16,), latent=True, epochs=200),
    VicinalClassifierCV(
        candidates=[Vanilla(), Mixup(), GenLabel(Gaussian(), 0.5)], learning_rates=(0.1,), epochs=200, cv=3
    ),
    GenerativeClassifier(),
    GenerativeClassifier(KDE("likelihood")),
    GenerativeClassifier(KNN(k=3)),
    VicinalSampler(),
    VicinalWrapper(LogisticRegression()),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learns_checks(estimator, check):
    check(estimator)
