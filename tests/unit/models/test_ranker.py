"""The ranking network's parts: every head trains, losses equal their formulas, position bias is separated from what is served."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_market import market_of

from features.market import Market
from features.model_spec import ModelSpec
from models.fit import Rows, columns_of, fit_ranker, new_ranker
from models.legacy_keras import tf
from models.losses import task_losses, task_weights
from models.preprocessing import Encoding, Group
from models.ranker import Ensemble, gate_columns
from models.trunk import CrossMixture, Trunk

ENCODING = Encoding(Group((("device:id", 3), ("need:id", 4)), ("amount:z",)), Group((("offer_id:id", 6), ("format:id", 3)), ()))
TWO_TASKS = [{"name": "ctr", "label": "click"}, {"name": "cvr", "label": "conversion", "given": "click"}]


FEATURES = [
    {"name": "device", "source": "shopper", "default": "a", "vocabulary": ["a", "b"]},
    {"name": "need", "source": "context", "default": "a", "vocabulary": ["a", "b", "c"]},
    {"name": "amount", "source": "context", "dtype": "float", "default": 0.0, "normalize": True},
    {"name": "offer_id", "source": "offer", "default": "", "vocabulary": ["a", "b", "c", "d", "e"]},
    {"name": "format", "source": "offer", "default": "a", "vocabulary": ["a", "b"]},
]


def market(tasks: list[dict[str, Any]] | None = None, **model: Any) -> Market:
    network = {"hidden_units": [16], "embedding_dim": 4, "expert_units": 8, "experts": 2, "batch_size": 128} | model
    return market_of(FEATURES, tasks or TWO_TASKS, 4, network)


def rows(n: int, seed: int, examination: NDArray[np.float64] | None = None) -> tuple[Rows, NDArray[np.float64]]:
    """Clicks that depend on how offer and need fit, and the true position-free P(click); better offers stand further up."""
    rng = np.random.default_rng(seed)
    need, offer = rng.integers(0, 3, n), rng.integers(0, 5, n)
    truth = np.array([0.1, 0.25, 0.5])[(need + offer) % 3]
    positions = np.clip(np.round(3 * (0.6 - truth) / 0.5 + rng.normal(0, 1, n)), 0, 3).astype(np.int32)
    seen = examination[positions] if examination is not None else 1.0
    click = rng.random(n) < truth * seen
    conversion = click & (rng.random(n) < np.array([0.2, 0.6])[offer % 2])
    inputs = {
        "request_ids": np.stack([rng.integers(0, 2, n), need], axis=1).astype(np.int32),
        "request_numbers": rng.normal(size=(n, 1)).astype(np.float32),
        "offer_ids": np.stack([offer, offer % 2], axis=1).astype(np.int32),
        "offer_numbers": np.zeros((n, 0), np.float32),
    }
    labels = {"click": click.astype(np.float32), "conversion": conversion.astype(np.float32)}
    return Rows(inputs, labels, positions), truth


def silent(_: Any) -> None:
    """Nobody listens."""


def cross_entropy(truth: NDArray[np.float64], p: NDArray[np.float64]) -> float:
    return float(-np.mean(truth * np.log(p) + (1 - truth) * np.log1p(-p)))


@pytest.mark.parametrize(
    ("head", "structure"),
    [("separate", "stacked"), ("mmoe", "stacked"), ("mmoe", "parallel")],
)
def test_every_head_learns_both_tasks(head: str, structure: str) -> None:
    train, truth = rows(3000, 1)
    spec = market(head=head, structure=structure, epochs=10, patience=10, learning_rate=0.01, gate_features=["format"])
    ranker, histories = fit_ranker(spec, ENCODING, train, rows(500, 2)[0], silent)
    p = ranker.probabilities(train.inputs).numpy()
    assert p.shape == (3000, 2)
    assert np.corrcoef(p[:, 0], truth)[0, 1] > 0.6
    odd = train.inputs["offer_ids"][:, 0] % 2 == 1
    assert p[odd, 1].mean() > 1.5 * p[~odd, 1].mean()
    (history,) = histories.fits
    assert history.primary == "ctr"
    assert set(history.best_epochs) == {"ctr", "cvr"}
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss


@pytest.mark.parametrize(
    ("head", "structure", "bias"),
    [("separate", "parallel", None), ("mmoe", "stacked", {})],
)
def test_members_of_one_network_learn_both_tasks_under_every_head(head: str, structure: str, bias: Any) -> None:
    train, truth = rows(3000, 1)
    network = {"ensemble": "shared", "members": 3, "head": head, "structure": structure, "bias": bias}
    spec = market(**network, gate_features=["format"], epochs=10, patience=10, learning_rate=0.02)
    ensemble, histories = fit_ranker(spec, ENCODING, train, rows(500, 2)[0], silent)
    (ranker,) = ensemble.members
    (history,) = histories.fits
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss
    logits = ranker(train.inputs).numpy()
    assert logits.shape == (3000, 3, 2)
    p = ensemble.probabilities(train.inputs).numpy()
    np.testing.assert_allclose(p, (1 / (1 + np.exp(-logits))).mean(axis=1), rtol=1e-5)
    assert np.corrcoef(p[:, 0], truth)[0, 1] > 0.4
    # Each by itself has learned what there is, and no two are the same.
    each = [np.corrcoef(logits[:, i, 0], truth)[0, 1] for i in range(3)]
    assert min(each) > 0.2
    assert np.abs(logits - logits.mean(axis=1, keepdims=True)).max() > 0.01


def test_one_member_that_shares_with_nobody_is_the_plain_network() -> None:
    train, _ = rows(600, 1)
    ((alone, _), (shared, _)) = (
        fit_ranker(market(epochs=2, ensemble=kind), ENCODING, train, train, silent) for kind in ("separate", "shared")
    )
    np.testing.assert_array_equal(alone.probabilities(train.inputs), shared.probabilities(train.inputs))


def test_the_loss_of_members_is_the_mean_of_theirs_and_moves_what_each_has_of_its_own() -> None:
    train, _ = rows(200, 1)
    spec = market([TWO_TASKS[0]], ensemble="shared", members=4, dropout=0.0, l2=0.0)
    ranker = new_ranker(spec, ENCODING, train)
    with tf.GradientTape() as tape:
        loss = ranker.compute_loss(tf.nest.map_structure(tf.constant, columns_of(spec.tasks, train)))
    logits = ranker(train.inputs).numpy()[:, :, 0]
    y = train.labels["click"][:, None]
    by_member = np.mean(np.log1p(np.exp(logits)) - y * logits, axis=0)
    assert float(loss) == pytest.approx(by_member.mean(), rel=1e-5)
    own = [w for path, w in ranker.get_weight_paths().items() if path.startswith(("_signs", "_outputs"))]
    assert sorted(w.shape.as_list() for w in own) == [[4], [4, 16], [4, 17]]
    for gradient in tape.gradient(loss, own):
        assert (np.abs(gradient.numpy()).reshape(4, -1).max(axis=1) > 0).all()


def test_what_is_saved_of_members_within_one_network_says_what_they_say(tmp_path: Path) -> None:
    train, _ = rows(50, 1)
    one_request = {k: v[:1] if k.startswith("request") else v for k, v in train.inputs.items()}
    signature = {k: tf.TensorSpec([None, v.shape[1]], v.dtype, name=k) for k, v in train.inputs.items()}
    served = Ensemble([new_ranker(market(ensemble="shared", members=3, cross_layers=1), ENCODING, train)])
    saved = tf.Module()
    saved.ensemble, saved.probabilities = served, tf.function(served.probabilities, input_signature=[signature])
    tf.saved_model.save(saved, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for inputs in (train.inputs, one_request):
        expected = served.probabilities(inputs).numpy()
        assert expected.shape == (50, 2)
        np.testing.assert_allclose(loaded.probabilities(tf.nest.map_structure(tf.constant, inputs)), expected, atol=1e-5)


def test_members_of_one_network_start_apart_at_the_base_rate() -> None:
    train, _ = rows(2000, 1)
    ranker = new_ranker(market(ensemble="shared", members=4), ENCODING, train)
    logits = ranker(train.inputs).numpy()[:, :, 0]
    assert np.corrcoef(logits.T)[np.triu_indices(4, 1)].max() < 0.9
    assert ranker.probabilities(train.inputs).numpy()[:, 0].mean() == pytest.approx(train.labels["click"].mean(), abs=0.05)


def test_gates_see_the_embeddings_of_ids_and_of_bags_in_every_group() -> None:
    request = Group((("device:id", 3), ("need:id", 4)), ("amount:z",), (("basket", 9, 3),))
    offer = Group((("offer_id:id", 6),), ("price:z", "price:missing"), (("tags", 5, 2), ("topics", 5, 2)))
    pair = Group((("device*offer_id:id", 9),), ())
    spec = ModelSpec(embedding_dim=2, gate_features=("need", "basket", "tags", "device"))
    # Of the request two ids, a bag and a number, 7 columns; of the offer an id, two bags and two numbers; of both an id.
    found = gate_columns(Encoding(request, offer, pair), spec)
    assert found.tolist() == [0, 1, 2, 3, 4, 5, 7 + 2, 7 + 3]


def test_one_request_is_repeated_for_its_offers() -> None:
    train, _ = rows(300, 1)
    ranker, _ = fit_ranker(market(epochs=1), ENCODING, train, train, silent)
    one = {k: v[:1] if k.startswith("request") else v[:7] for k, v in train.inputs.items()}
    repeated = {k: np.repeat(v, 7, axis=0) if k.startswith("request") else v for k, v in one.items()}
    np.testing.assert_allclose(ranker.probabilities(one), ranker.probabilities(repeated), rtol=1e-5)


def test_an_ensemble_serves_the_mean_of_its_members() -> None:
    train, _ = rows(600, 1)
    ranker, histories = fit_ranker(market(members=2, epochs=1), ENCODING, train, train, silent)
    assert len(ranker.members) == len(histories.fits) == 2
    each = np.stack([m.probabilities(train.inputs).numpy() for m in ranker.members])
    assert np.ptp(each, axis=0).max() > 1e-3
    np.testing.assert_allclose(ranker.probabilities(train.inputs), each.mean(axis=0), rtol=1e-5)


def test_low_rank_cross_layers_mix_by_their_formula() -> None:
    layer = CrossMixture(market(cross_experts=3, projection_dim=2).model, salt=0)
    x0, x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    got = layer(tf.constant(x0), tf.constant(x)).numpy()
    v, c, u = (w.numpy() for w in (layer._v, layer._c, layer._u))
    gate = layer._gate(x).numpy()
    mixed = sum(gate[:, [i]] * (np.tanh(np.tanh(x @ v[i]) @ c[i]) @ u[i]) for i in range(3))
    np.testing.assert_allclose(got, x0 * (mixed + layer._b.numpy()) + x, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("projection_dim", "experts"), [(None, 1), (3, 1), (3, 4)])
def test_a_trunk_has_the_width_of_its_structure(projection_dim: int | None, experts: int) -> None:
    x = tf.random.normal([2, 6])
    stacked = market(projection_dim=projection_dim, cross_experts=experts).model
    assert Trunk(stacked)(x).shape == (2, 16)
    assert Trunk(stacked.model_copy(update={"structure": "parallel"}))(x).shape == (2, 22)


def probability(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-logit))


@pytest.mark.parametrize(("space", "biased"), list(itertools.product(["conditional", "entire"], [False, True])))
def test_losses_equal_their_formulas(space: str, biased: bool) -> None:
    tasks = market([TWO_TASKS[0], TWO_TASKS[1] | {"space": space}]).tasks
    rng = np.random.default_rng(4)
    click = rng.integers(0, 2, 50).astype(np.float32)
    labels = {"click": click, "conversion": click * rng.integers(0, 2, 50).astype(np.float32)}
    z, log_e = rng.normal(size=(50, 2)), -rng.random(50)
    weights = task_weights(tasks, labels)
    y = np.stack([labels["click"], labels["conversion"]], axis=1)
    got = task_losses(tasks, y, z.astype(np.float32), weights, log_e.astype(np.float32) if biased else None).numpy()
    pctr = probability(z[:, 0]) * (np.exp(log_e) if biased else 1.0)
    pcvr = probability(z[:, 1])
    expected_cvr = -(y[:, 1] * np.log(pcvr) + (1 - y[:, 1]) * np.log(1 - pcvr)) * click
    if space == "entire":
        both = pctr * pcvr
        expected_cvr = -(y[:, 1] * np.log(both) + (1 - y[:, 1]) * np.log(1 - both))
    expected_ctr = -(click * np.log(pctr) + (1 - click) * np.log(1 - pctr))
    np.testing.assert_allclose(got, [expected_ctr.mean(), expected_cvr.mean()], rtol=1e-4)


def test_extreme_logits_keep_finite_gradients() -> None:
    tasks = market([TWO_TASKS[0], TWO_TASKS[1] | {"space": "entire"}]).tasks
    z = tf.Variable([[80.0, 80.0], [-80.0, -80.0], [80.0, -80.0]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(task_losses(tasks, np.array([[0, 0], [1, 1], [1, 0]], np.float32), z, np.ones((3, 2)), np.zeros(3)))
    assert np.isfinite(loss.numpy())
    assert np.isfinite(tape.gradient(loss, z).numpy()).all()


def test_tasks_weigh_what_the_market_says() -> None:
    train, _ = rows(200, 1)
    columns = tf.nest.map_structure(tf.constant, columns_of(market().tasks, train))

    def loss(weight: float) -> float:
        spec = market([TWO_TASKS[0], TWO_TASKS[1] | {"weight": weight}], dropout=0.0)
        return float(new_ranker(spec, ENCODING, train).compute_loss(columns))

    assert loss(2.0) - loss(1.0) == pytest.approx(loss(3.0) - loss(2.0), rel=1e-3)
    assert loss(2.0) > loss(1.0) + 0.01


def test_rows_count_by_their_weights() -> None:
    """Rows of weight 0 might as well not be there."""
    train, _ = rows(1500, 1)
    kept = np.arange(1500) % 3 != 0
    wrong = {k: np.where(kept, y, 1 - y).astype(np.float32) for k, y in train.labels.items()}
    weights = {"ctr": kept.astype(np.float32)}
    spec = market([TWO_TASKS[0]], epochs=6, patience=6, learning_rate=0.01)
    misled, _ = fit_ranker(spec, ENCODING, Rows(train.inputs, wrong), train, silent)
    told, _ = fit_ranker(spec, ENCODING, Rows(train.inputs, wrong, weights=weights), train, silent)
    truth = rows(1500, 1)[1]

    def loss(ranker: Any) -> float:
        return cross_entropy(truth, ranker.probabilities(train.inputs).numpy()[:, 0].astype(np.float64))

    assert loss(told) < loss(misled) - 0.01


def test_the_bias_tower_finds_what_positions_take() -> None:
    examination = np.array([1.0, 0.6, 0.35, 0.2])
    train, truth = rows(12_000, 5, examination)
    valid, _ = rows(2000, 6, examination)
    common = {"epochs": 12, "patience": 3, "learning_rate": 0.01}
    debiased, _ = fit_ranker(market([TWO_TASKS[0]], bias={"dropout": 0.1}, **common), ENCODING, train, valid, silent)
    naive, _ = fit_ranker(market([TWO_TASKS[0]], **common), ENCODING, train, valid, silent)
    one = {k: v[:1] for k, v in train.inputs.items()}
    found = [float(np.exp(debiased.log_examination(one, np.array([k], np.int32)).numpy()[0])) for k in range(4)]
    np.testing.assert_allclose(found, examination, atol=0.12)
    assert found[0] == 1.0
    by_debiased, by_naive = (
        cross_entropy(truth, r.probabilities(train.inputs).numpy()[:, 0].astype(np.float64)) for r in (debiased, naive)
    )
    assert by_debiased < by_naive - 0.01
