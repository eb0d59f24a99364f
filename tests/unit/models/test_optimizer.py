"""LazyAdam: Adam, but for the rows of a table that a batch does not touch."""

import warnings
from typing import Any

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own imports
    from models.legacy_keras import keras, tf
    from models.optimizer import LazyAdam

ROWS, DIM, RATE = 6, 3, 0.01


def tables_after(optimizer: Any, batches: list[list[int]]) -> list[np.ndarray]:
    """A table of ones after each batch of rows; the gradient of a row is its number + 1, times what stands in it."""
    table = tf.Variable(tf.ones([ROWS, DIM]))
    after = []
    for batch in batches:
        with tf.GradientTape() as tape:
            chosen = tf.gather(table, batch)
            loss = tf.reduce_sum(tf.cast(tf.constant(batch)[:, None] + 1, tf.float32) * tf.square(chosen)) / 2
        optimizer.apply_gradients([(tape.gradient(loss, table), table)])
        after.append(table.numpy())
    return after


def test_where_each_batch_touches_every_row_it_is_adam_to_the_last_bit() -> None:
    rng = np.random.default_rng(1)
    batches = [[*rng.permutation(ROWS).tolist(), *rng.integers(0, ROWS, 5).tolist()] for _ in range(50)]
    lazy, adam = (tables_after(optimizer, batches) for optimizer in (LazyAdam(RATE, few_rows=0), keras.optimizers.Adam(RATE)))
    assert (lazy[-1] != 1).all()
    np.testing.assert_array_equal(lazy, adam)


def test_a_table_of_few_rows_is_left_to_adam() -> None:
    batches = [[0, 1], [1, 2], [5, 5]]
    few = tables_after(LazyAdam(RATE, few_rows=ROWS), batches)
    np.testing.assert_array_equal(few, tables_after(keras.optimizers.Adam(RATE), batches))
    assert (few[-1] != tables_after(LazyAdam(RATE, few_rows=ROWS - 1), batches)[-1]).any()


def test_weights_that_are_no_table_are_fitted_by_adam_to_the_last_bit() -> None:
    x = np.random.default_rng(2).normal(size=(200, 4)).astype(np.float32)
    fitted = []
    for of in (LazyAdam, keras.optimizers.Adam):
        keras.utils.set_random_seed(1)
        dense = [keras.layers.Dense(n, kernel_initializer=keras.initializers.GlorotUniform(seed=n)) for n in (3, 1)]
        model = keras.Sequential([dense[0], keras.layers.ReLU(), dense[1]])
        model.compile(optimizer=of(RATE), loss="mse")
        model.fit(x, x.sum(axis=1), epochs=3, batch_size=20, verbose=0)
        fitted.append(model.get_weights())
    for lazy, adam in zip(*fitted, strict=True):
        np.testing.assert_array_equal(lazy, adam)


def test_rows_that_a_batch_does_not_touch_stay_with_their_moments() -> None:
    optimizer = LazyAdam(RATE, few_rows=0)
    first, second = tables_after(optimizer, [[0, 1], [1, 2]])
    np.testing.assert_array_equal(second[[0, 3, 4, 5]], first[[0, 3, 4, 5]])
    assert (second[[1, 2]] != first[[1, 2]]).all()
    # By Adam row 0 would have gone on; the moments of its one gradient, 1, are still .1 and .001 of it and of its square.
    assert (tables_after(keras.optimizers.Adam(RATE), [[0, 1], [1, 2]])[1][0] != first[0]).all()
    m, v = (slot.numpy() for slot in optimizer.variables[1:3])
    np.testing.assert_allclose(m[[0, 3]], [[0.1] * DIM, [0] * DIM], rtol=1e-5)
    np.testing.assert_allclose(v[[0, 3]], [[0.001] * DIM, [0] * DIM], rtol=1e-5)


def test_gradients_of_a_row_that_a_batch_has_twice_are_summed_first() -> None:
    # One gradient of 2, not two of 1: the second moment is .001 * 4. Either way round.
    for batch in ([0, 1, 0], [0, 0, 1]):
        optimizer = LazyAdam(RATE, few_rows=0)
        tables_after(optimizer, [batch])
        np.testing.assert_allclose(optimizer.variables[2].numpy()[0], 0.004, rtol=1e-5)


def test_a_row_that_is_met_late_moves_as_one_that_is_met_at_once() -> None:
    # By Adam's own count of steps it would move by .1 g / sqrt(.001 g^2) = 3.16 times the rate.
    optimizer = LazyAdam(RATE, few_rows=0)
    optimizer.iterations.assign(10_000)
    (table,) = tables_after(optimizer, [[5]])
    np.testing.assert_allclose(1 - table[5], RATE, rtol=0.001)
