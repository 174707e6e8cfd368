"""Everything that is registered or exported is held to the contract of `pushforward.testing`, without a list here.

Statistical checks have a false-alarm rate of 1e-6 each and fixed noise: what passes once passes always.
"""

import ast
from pathlib import Path

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from pushforward import architectures, transformers
from pushforward.architectures import ARCHITECTURES, registered
from pushforward.distributions import BASES
from pushforward.rows import broadcasting
from pushforward.testing import (
    ARCHITECTURE_TABLE,
    BIJECTION_TABLE,
    DENSITY_CHECKS,
    TRANSFORMER_CHECKS,
    TransformerSubject,
    architecture_subject,
    check_large_event,
    check_saving,
    example_architectures,
    example_bases,
    example_bijections,
    exported_bijections,
    run_check,
    tiny,
)
from pushforward.transformers import TRANSFORMERS

# Every check runs on every architecture with 3 coordinates; with 1 and 2 those that fewer coordinates could change.
# `check_architecture` runs all of them at every size.
FOR_ONE = ("far inputs", "integral", "samples")
FOR_TWO = (
    *("finite", "round trip", "inverse log-det", "gradients", "far inputs", "interaction"),
    *("sample_and_log_prob", "integral", "samples"),
)


# What an architecture's variants cannot change: how rows, batches and precisions are told apart.
NOT_FOR_VARIANTS = (
    *("jit", "vmap", "leading axes", "row independence"),
    *("single precision", "double precision"),
)
# What they can change is in every run; the rest is nightly, as is every check of two columns.
FOR_VARIANTS = (
    *("round trip", "forward log-det", "inverse log-det", "volume", "finite", "gradients"),
    *("no copies", "interaction", "condition everywhere", "hashable"),
)
# Fields in the same map as ffjord's: fewer coordinates change their densities only, and the fields of rnode
# and flow_matching are ffjord's too. A grid in the plane takes each of them half a minute.
CONTINUOUS = ("planar_cnf", "ot_flow")
FFJORD_FIELD = ("rnode", "flow_matching")


# Architectures that have the structure of another one (maf, nsf, realnvp, planar, residual_flow, ffjord) or of one map
# that is a subject itself (tan), and differ in a scalar map, which has a table of its own, or in a field: what the
# structure does with rows, batches, conditions and precisions is nightly.
ALIKE = (
    *("linear_spline", "quadratic_spline", "cubic_spline", "sos", "umnn", "naf", "bernstein"),
    *("nice", "iaf", "made", "maf_mog", "flow_plus_plus", "circular_nsf", "tan"),
    *("radial", "iresnet", "planar_cnf", "rnode", "ot_flow", "flow_matching"),
)
# Integrals over one column follow from determinants and a map that is onto. These stand for the others.
IN_ONE = ("nsf", "maf", "glow")
# Architectures whose variants stand for those of all.
VARIED = ("maf", "nsf", "planar_cnf")
# Examples of a class that has another one, or an architecture.
REPEATED = (
    *("Amortized continuous", "Amortized autoregressive"),
    *("Amortized sylvester", "Amortized coupling"),
    *("Amortized elementwise", "Autoregressive spline", "Elementwise conditional"),
    *("Residual", "FlowMap", "BlockAutoregressive"),
)
OF_STRUCTURE = (
    *NOT_FOR_VARIANTS,
    *("condition", "cached inverse", "far inputs"),
    *("sample_and_log_prob", "single precision both ways"),
)
OF_VECTORS = tuple(registered(images=False))


def table_for(name, event, variant):
    names = list({1: FOR_ONE, 2: FOR_TWO}.get(event, ARCHITECTURE_TABLE))
    if name in FFJORD_FIELD and event < 3:
        names = []
    if name in CONTINUOUS and event == 2:
        names = []
    if variant:
        names = [name for name in names if name not in NOT_FOR_VARIANTS]
    return {name: ARCHITECTURE_TABLE[name] for name in names}


SUBJECTS = {
    **{
        name: (
            TRANSFORMER_CHECKS,
            lambda n=name, k=kind: TransformerSubject(n, k()),
        )
        for name, kind in TRANSFORMERS.items()
    },
    **{name: (BIJECTION_TABLE, lambda s=s: s) for name, s in example_bijections().items()},
    **{name: (DENSITY_CHECKS, lambda s=s: s) for name, s in example_bases().items()},
    **{
        name: (
            table_for(case[0], case[2], "=" in name.split(" d=")[0]),
            lambda case=case: architecture_subject(*case),
        )
        for name, case in example_architectures().items()
    },
}


@pytest.fixture(scope="module")
def subject_named():
    """The subject last asked for: its checks share what is computed from it, and then it is let go."""
    held: dict[str, object] = {}

    def get(name):
        if name not in held:
            held.clear()
            held[name] = SUBJECTS[name][1]()
        return held[name]

    return get


def tier(subject, check):
    """The marks of a check: what the lists above leave to another subject is nightly."""
    name, _, size = subject.partition(" d=")
    kind, variant = name.split()[0] if name else "", "=" in name
    of_structure = kind in ALIKE and (variant or check in OF_STRUCTURE)
    nightly = (
        size.startswith("2")
        or (size.startswith("1") and (kind not in IN_ONE or check == "far inputs"))
        or (variant and (kind not in VARIED or check not in FOR_VARIANTS))
        or (bool(size) and of_structure)
        or name in REPEATED
    )
    return [pytest.mark.nightly] if nightly else []


# One worker for one subject (`conftest.BySubject`), so that its programs are compiled once.
@pytest.mark.parametrize(
    ("subject", "check"),
    [
        pytest.param(name, check, marks=tier(name, check))
        for name, (table, _) in SUBJECTS.items()
        for check in table
    ],
)
def test_contract(subject, check, subject_named):
    run_check(SUBJECTS[subject][0], check, subject_named(subject))


def test_every_exported_bijection_is_under_test():
    """A class without an example: add a tiny instance to `pushforward.testing.examples.example_bijections`."""
    subjects = [s.bijection for s in example_bijections().values()]
    tested = {type(map).__name__ for one in subjects for map in (one, *one.parts())}
    assert exported_bijections() <= tested


def test_every_transformer_and_architecture_is_registered():
    """A forgotten line in a registry would leave it out of the contract without a word."""
    for package, registry in ((transformers, TRANSFORMERS), (architectures, ARCHITECTURES)):
        written = set()
        for path in Path(package.__file__).parent.rglob("*.py"):
            classes = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.ClassDef)]
            written |= {
                c.name
                for c in classes
                if {"build", "plan", "of_scale", "inverse"}
                & {n.name for n in c.body if isinstance(n, ast.FunctionDef)}
            }
        # Interfaces, and the models of typed tables, which are no flows.
        written -= {"AbstractTransformer", "Architecture", "Planned", "Products", "Scaled", "Typed"}
        assert written == {kind.__name__ for kind in registry.values()}


def test_every_registered_name_is_under_test():
    assert set(TRANSFORMERS) <= set(SUBJECTS)
    assert {f"base {name}" for name in BASES} <= set(SUBJECTS)
    for name in OF_VECTORS:
        sizes = {case[2:] for case in example_architectures().values() if case[0] == name}
        assert {event for event, _ in sizes} == {1, 2, 3}
        assert any(condition for _, condition in sizes)


# Of these log-dets are exact for few columns, and may be estimates for many.
ESTIMATED = ("ffjord", "residual_flow")


# Its masks are dense, (16 event)^2 numbers: 1,000 columns take 19 s.
DENSE = ("bnaf",)


@pytest.mark.parametrize(
    ("event", "name"),
    [
        *((1000, name) for name in OF_VECTORS if name not in (*DENSE, *ALIKE)),
        *(pytest.param(1000, name, marks=pytest.mark.nightly) for name in (*DENSE, *ALIKE)),
        *((200, name) for name in DENSE),
        *((63, name) for name in ESTIMATED),
    ],
)
def test_many_columns(name, event):
    check_large_event(tiny(ARCHITECTURES[name]), event, name=name)


@pytest.mark.nightly
@pytest.mark.parametrize("variants", [False, True])
def test_saving(variants):
    """One fresh process for all architectures, and one for their variants."""
    cases = [case for case in example_architectures().values() if case[2] == 3]
    chosen = [
        case for case in cases if (case[1] != tiny(ARCHITECTURES[case[0].split()[0]])) == variants
    ]
    assert chosen
    check_saving([(architecture_subject(*case), case[1]) for case in chosen])


@pytest.mark.parametrize("name", TRANSFORMERS)
@given(data=st.data())
def test_transformers_increase(name, data):
    """Any parameters up to +-20, any two values: order is kept and the way back leads back."""
    transformer = TRANSFORMERS[name]()
    raw = st.floats(-20, 20, width=32)
    params = data.draw(st.lists(raw, min_size=transformer.size, max_size=transformer.size))
    subject = TransformerSubject(name, transformer, np.array(params)[:, None])
    run_check(TRANSFORMER_CHECKS, "increasing", subject)
    run_check(TRANSFORMER_CHECKS, "round trip", subject)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_large_batches(name):
    """A compiled map of many values gives what it gives for few: XLA's reductions over wide arrays have been wrong."""
    transformer, key, n = TRANSFORMERS[name](), jax.random.key(0), 2**17
    values = jax.random.normal(key, (n,))
    params = jnp.broadcast_to(
        0.5 * jax.random.normal(key, (transformer.size, 1)), (transformer.size, n)
    )
    # 131,000 searches take a minute in unoptimised programs.
    for method in [transformer.inverse, *[transformer.forward] * (not transformer.searched)]:
        with broadcasting():
            many = eqx.filter_jit(method)(values, params)
            few = eqx.filter_jit(method)(values[:100], params[:, :100])
        for i in (0, 1):
            np.testing.assert_allclose(many[i][:100], few[i], atol=1e-4)


@pytest.mark.parametrize("name", [n for n, kind in TRANSFORMERS.items() if not kind.searched])
def test_log_slopes_of_the_way_back(name):
    """In single precision too, the way back has the negative log-slope, for every one of 16,384 values."""
    transformer, keys, n = TRANSFORMERS[name](), jax.random.split(jax.random.key(0)), 2**14
    params = 0.7 * jax.random.normal(keys[1], (transformer.size, n))
    with broadcasting():
        z = 1.5 * jax.random.normal(keys[0], (n,))
        x, log_slope = eqx.filter_jit(transformer.forward)(z, params)
        back = eqx.filter_jit(transformer.inverse)(x, params)[1]
    np.testing.assert_allclose(back, -log_slope, atol=1e-3)
