"""Losses over tasks of which some count only for some rows, such as P(conversion | click) for clicked rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.model_spec import TaskSpec
from models.legacy_keras import tf

LEAST_LOG_P = -30.0
MOST_LOG_P = -1e-6  # a probability of 1 could never be wrong


def task_weights(tasks: tuple[TaskSpec, ...], labels: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """[N, T], 1 where a row counts for a task: where its `given` label is 1, or everywhere."""
    rows = len(next(iter(labels.values())))
    everywhere = np.ones(rows, np.float32)
    columns = [labels[t.given] if t.given and t.space == "conditional" else everywhere for t in tasks]
    return np.stack(columns, axis=1).astype(np.float32)


def task_losses(tasks: tuple[TaskSpec, ...], labels: Any, logits: Any, weights: Any, log_e: Any = None) -> Any:
    """[T], each task's log loss over the rows that count.

        L_t = sum_i w_it BCE(y_it, p_it) / N
        p_t = sigmoid(z_t) e                 of an impression at its position
        p_t = sigmoid(z_t)                   given another label, where it is 1
        p_t = p_given sigmoid(z_t)           over all rows (ESMM)

    Divided by all N rows, not by those that count: a batch with one click then weighs that click as any other batch would,
    and with weights of 0 and 1 the sum over tasks is the negative log likelihood of all labels of a row. A task that counts
    for few rows must not be scaled up to the others: with some hundred clicks its noise would drown the first task.

    Args:
      labels, logits, weights: [N, T].
      log_e: [N], how well each row's position is seen, or None for positions that do not matter.
    """
    task_of = {t.label: i for i, t in enumerate(tasks)}
    log_p: dict[int, Any] = {}

    def log_probability(i: int) -> Any:
        """[N], log P of the label among all impressions."""
        if i not in log_p:
            own = tf.math.log_sigmoid(logits[:, i])
            given = tasks[i].given
            before = log_probability(task_of[given]) if given else (0.0 if log_e is None else log_e)
            log_p[i] = tf.clip_by_value(own + before, LEAST_LOG_P, MOST_LOG_P)
        return log_p[i]

    losses = []
    for i, task in enumerate(tasks):
        y = labels[:, i]
        conditional = task.given is not None and task.space == "conditional"
        if conditional or (task.given is None and log_e is None):
            loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits[:, i])
        else:
            loss = -(y * log_probability(i) + (1 - y) * _log1mexp(log_probability(i)))
        losses.append(tf.reduce_mean(weights[:, i] * loss))
    return tf.stack(losses)


def _log1mexp(x: Any) -> Any:
    """log(1 - e^x) for x < 0, exact at both ends."""
    near = x > -np.log(2)
    # Each branch only sees arguments it can differentiate.
    small = tf.math.log(-tf.math.expm1(tf.where(near, x, -1.0)))
    large = tf.math.log1p(-tf.exp(tf.where(near, -1.0, x)))
    return tf.where(near, small, large)
