"""Losses over tasks of which some count only for some rows, such as P(conversion | click) for clicked rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.model_spec import TaskSpec
from models.legacy_keras import tf


def task_weights(tasks: tuple[TaskSpec, ...], labels: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """[N, T], 1 where a row counts for a task: everywhere, or where the task's `given` label is 1."""
    rows = len(next(iter(labels.values())))
    columns = [labels[t.given] if t.given else np.ones(rows, np.float32) for t in tasks]
    return np.stack(columns, axis=1).astype(np.float32)


def weighted_log_loss(labels: Any, logits: Any, weights: Any) -> Any:
    """[T], each task's log loss over the rows that count.

        L_t = sum_i w_it BCE(y_it, z_it) / N

    Divided by all N rows, not by those that count: a batch with one click then weighs that click as any other batch would,
    and with weights of 0 and 1 the sum over tasks is the negative log likelihood of all labels of a row. A task that counts
    for few rows must not be scaled up to the others: with some hundred clicks its noise would drown the first task.

    Args:
      labels, logits, weights: [N, T].
    """
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.reduce_mean(weights * losses, axis=0)
