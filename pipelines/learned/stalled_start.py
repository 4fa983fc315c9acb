"""Networks that do not start to learn: their output does not depend on the image."""

from __future__ import annotations

import logging

import numpy as np

log = logging.getLogger(__name__)

# Share of the entropy of the labels from which on a mean loss counts as that of guesses.
STALL_LOSS = 0.98
STALL_UPDATES = 400  # updates after which a network should no longer guess


class StalledStart:
    """Recognizes a network that only guesses, warns of it once and counts the epochs.

    The lowest mean loss without a look at the image is the entropy of the training labels. It is
    ln(classes) where all classes are equally frequent, and less where they are not, so that a
    network whose biases alone have learned is recognized there too.

    Parameters
    ----------
    labels : (n,) int64
        Of the training images.

    Attributes
    ----------
    entropy : float
        In nats.
    due : int
        Number of updates after which the network should no longer guess.
    epochs : int
        Number of epochs of guesses from then on.
    """

    def __init__(self, labels: np.ndarray) -> None:
        shares = np.unique(labels, return_counts=True)[1] / len(labels)
        self.entropy = float(-(shares * np.log(shares)).sum())
        self.due, self.epochs, self._has_warned = STALL_UPDATES, 0, False

    def check(self, loss: float, updates: int) -> bool:
        """Return whether the network still guesses, and warn if it should not any more."""
        is_guessing = self.entropy > 0 and loss >= STALL_LOSS * self.entropy
        if is_guessing and updates >= self.due and not self._has_warned:
            self._has_warned = True
            log.warning(
                "after %d updates the loss is %.3f, no better than guesses that know only how "
                "frequent each class is, %.3f. Such a start can take long or never end: if it does "
                "not, try another seed, activation=relu, another lr, or He init (alexnet: "
                "recipe=short; cuda-convnet: init=he)",
                updates,
                loss,
                self.entropy,
            )
        return is_guessing

    def check_epoch(self, loss: float, updates: int) -> bool:
        """Do as `check` does for the mean loss of an epoch, and count it."""
        is_guessing = self.check(loss, updates)
        self.epochs += is_guessing and updates >= self.due
        return is_guessing

    @property
    def note(self) -> str | None:
        """A note about the epochs of guesses; None if there were none."""
        return f"stalled start: loss of guesses for {self.epochs} epochs" if self.epochs else None
