"""Tests that repeat a proof at a price: `make test` leaves them out, `make test-all` and the nightly run have them.

Each line is the beginning of the names of such tests, and what proves as much in `make test`.
"""

NIGHTLY = {
    # Pages whose examples fit several models each.
    "tests/test_docs.py::test_examples[docs/guide-typed.md]": "tests/test_typed*.py",
    "tests/test_docs.py::test_examples[docs/guide-gaps.md]": "tests/test_typed_queries.py",
    "tests/test_docs.py::test_examples[docs/guide-strange.md]": "tests/test_typed_queries.py",
    "tests/test_docs.py::test_examples[docs/guide-made-up.md]": "tests/test_typed_trust.py",
    "tests/test_docs.py::test_examples[docs/guide-series.md]": "tests/test_neural_ode.py",
    "tests/test_docs.py::test_examples[docs/guide-sklearn.md]": "tests/test_estimators.py",
    "tests/test_docs.py::test_examples[docs/guide-architecture.md]": "tests/test_registry.py",
    "tests/test_docs.py::test_examples[docs/coming-from.md]": "tests/test_contract.py",
    "tests/test_docs.py::test_examples[docs/guide-python.md]": "docstrings of the same names",
    "tests/test_docs.py::test_examples[docs/story.md]": "tests/test_ode.py",
    "tests/test_docs.py::test_examples[docs/guide-table.md]": "README's examples; tests/test_estimators.py",
    "tests/test_docs.py::test_examples[docs/solvers.md]": "tests/test_ode.py",
    "tests/test_docs.py::test_examples[docs/file-format.md]": "tests/test_saving.py",
    "tests/test_docs.py::test_examples[docs/densities.md]": "tests/test_distributions.py",
    "tests/test_docs.py::test_docstrings[pushforward.estimators.table_density]": (
        "the same calls in tests/test_typed_kinds.py"
    ),
    "tests/test_docs.py::test_docstrings[pushforward.estimators.neural_ode]": (
        "the same calls in tests/test_neural_ode.py"
    ),
    "tests/test_docs.py::test_docstrings[pushforward.estimators.conditional]": (
        "the same calls in tests/test_estimators.py"
    ),
    "tests/test_docs.py::test_examples[docs/guide-posterior.md]": "tests/test_inference.py",
    "tests/test_docs.py::test_examples[docs/guide-verdict.md]": "tests/test_inference.py",
    "tests/test_docs.py::test_docstrings[pushforward.inference.posterior_fit]": "tests/test_inference.py",
    "tests/test_docs.py::test_docstrings[pushforward.inference.posterior]": "tests/test_inference.py",
    "tests/test_docs.py::test_docstrings[pushforward.inference.evidence]": "tests/test_inference.py",
    "tests/test_docs.py::test_docstrings[pushforward.series.latent_ode]": (
        "the same calls in tests/test_latent_ode.py"
    ),
    # Fits that end in a figure.
    "tests/test_defaults.py::test_few_rows_are_fitted_no_worse_than_by_name": (
        "what the race consists of, in the same file"
    ),
    "tests/test_defaults.py::test_the_default_is_as_good_as_the_mixture": (
        "what the race consists of, in the same file"
    ),
    "tests/test_defaults.py::test_draws_of_heavy_tails_stay_near_the_data": (
        "margins and tails, tests/test_margins.py"
    ),
    "tests/test_angles.py::TestBesideOthers::test_held_out_nats_are_near_the_truth": (
        "the seam and turns, in the same file"
    ),
    "tests/test_angles.py::TestBesideOthers::test_the_default": "angles by name, in the same file",
    "tests/test_product_mixture.py::TestContest::test_the_network_wins": (
        "that the mixture wins where it should"
    ),
    "tests/test_continuous.py::test_a_fit_of_every_continuous_architecture_improves": (
        "their gradients; fits of one"
    ),
    "tests/test_cli.py::TestFlowOrTyped::test_values_that_repeat": (
        "the race on real numbers, in the same class"
    ),
    "tests/test_continuous.py::test_regularisers_and_steer": "the regularisers' values, in the same file",
    "tests/test_training.py::test_actnorm_is_set_from_the_table": "tests/test_bijections.py, and golden fits",
    "tests/test_inference.py::test_an_angle_is_cut_where_it_has_no_mode": "the support's own round trip and integral",
    # The same at another size, for another class, or through another door.
    "tests/test_estimators.py::TestScikitLearnTools::test_grid_search_reaches_the_fields_of_records": (
        "a search over architectures, and fields by `set_params`, in the same class"
    ),
    **{
        f"tests/test_estimators.py::TestSettingsOfJax::test_broadcasting_refused[condition1-architecture{i}]": by
        for i, by in {
            1: "nsf and glow",
            3: "glow",
            5: "planar_cnf and ot_flow",
            6: "planar_cnf and ot_flow",
            8: "planar_cnf and ot_flow",
        }.items()
    },
    "tests/test_registry.py::TestByAPackage::test_the_command_line": (
        "entry points in one process, in the same file"
    ),
    "tests/test_typed_kinds.py::TestFrames::test_types_of_pandas_come_back": (
        "each type by itself, in the same class"
    ),
    "tests/test_typed_kinds.py::TestScikitLearn::test_arrays": (
        "pipelines, clones and names, in the same class"
    ),
    "tests/test_typed.py::TestTable::test_validation_s_loss_is_the_mean": (
        "both uses of a batch, in the same file"
    ),
    "tests/test_product_mixture.py::TestFile::test_without_the_word": "golden files",
    "tests/test_residual.py::test_the_determinant_may_be_taken_at_a_narrower_layer[16-3]": (
        "the smaller two"
    ),
    "tests/test_residual.py::test_the_determinant_may_be_taken_at_a_narrower_layer[40-1]": (
        "the smaller two"
    ),
    "tests/test_trust.py::TestNumbers::test_of_an_ode[ot_flow]": "another continuous flow",
    "tests/test_neural_ode.py::test_far_clocks_without_time": "with time",
    "tests/test_ode.py::test_the_backward_solve_by_itself": "gradients of all adjoints",
    "tests/test_cli.py::TestOddNames::test_columns_are_found_without_their_blanks[a]": "the other spellings",
    "tests/test_cli.py::TestFailures::test_an_environment_that_jax_does_not_take[JAX_PLATFORMS-cuda": "another one",
    "tests/test_typed_queries.py::TestManyLabels::test_ranges": "ranges and explanations of few labels",
    "tests/test_training.py::test_rows_of_any_precision[float16]": "other precisions",
    "tests/test_ode.py::test_adjoints_agree_with_each_other_and_with_diffrax[shared]": (
        "with a step for each row"
    ),
    "tests/test_remat.py::test_gradients_are_the_stored_ones[architecture2": (
        "three other architectures"
    ),
    "tests/test_remat.py::test_gradients_are_the_stored_ones[architecture1": (
        "two other architectures"
    ),
    "tests/test_amortized.py::test_every_row_has_a_map_of_its_own[planar, conditional]": "planar",
    "tests/test_amortized.py::test_every_row_has_a_map_of_its_own[sylvester]": "planar and radial",
    "tests/test_amortized.py::test_every_row_has_a_map_of_its_own[stack]": "chain",
    "tests/test_amortized.py::test_every_row_has_a_map_of_its_own[continuous, conditional]": (
        "continuous"
    ),
    "tests/test_amortized.py::test_every_row_has_a_map_of_its_own[potential]": "continuous",
    "tests/test_amortized.py::test_every_row_has_a_map_of_its_own[planar field]": "continuous",
    "tests/test_amortized.py::test_every_row_has_a_map_of_its_own[block autoregressive]": (
        "autoregressive"
    ),
    "tests/test_distributions.py::test_bases_take_any_event[event1-": (
        "events of no axis and of two"
    ),
    "tests/test_estimators.py::TestScikitLearnTools::test_processes_of_joblib": (
        "pickles and clones, in the same class"
    ),
    "tests/test_estimators.py::TestSettingsOfJax::test_a_fit_of_a_continuous_flow": (
        "the same functions traced"
    ),
    "tests/test_examples.py::test_experiment[hare_lynx]": (
        "the one that remains: table, figure and command are shared"
    ),
    "tests/test_examples.py::test_experiment[spirals]": "the one that remains",
    "tests/test_examples.py::test_experiment[image_ablations]": "the one that remains",
    "tests/test_examples.py::test_experiment[vae]": "the one that remains; tests/test_evidence_bounds.py",
    "tests/test_examples.py::test_experiment[augmented]": "the one that remains",
    "tests/test_examples.py::test_experiment[mocap]": "the one that remains",
    "tests/test_examples.py::test_experiment[ode_net]": "the one that remains",
    "tests/test_examples.py::test_experiment[physionet]": "the one that remains",
}
