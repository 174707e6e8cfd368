"""Parameters of an estimator that are records, open to scikit-learn's searches field by field."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, Self

from sklearn.base import BaseEstimator

from pushforward.architectures import ARCHITECTURES
from pushforward.errors import InputError
from pushforward.training import Training


class NestedParameters(BaseEstimator):
    """An estimator whose records can be searched: `architecture__width`, `training__learning_rate`, `solver__rtol`.

    ```python
    >>> import pushforward as pf
    >>> density = pf.FlowDensity("nsf").set_params(architecture__width=32, training__learning_rate=1e-3)
    >>> density.architecture.width, density.training.learning_rate
    (32, 0.001)
    >>> density.get_params()["architecture__layers"]
    5

    ```
    """

    # What None stands for, in the parameter that is named for the class.
    _defaults: tuple[Any, ...] = (Training(),)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The estimator's parameters; with `deep` (default) the fields of its records too, as `record__field`."""
        found: dict[str, Any] = BaseEstimator.get_params(self, deep=False)
        for name, value in list(found.items()) if deep else ():
            record = self._record(name, value)
            for field in () if record is None else fields(record):
                found[f"{name}__{field.name}"] = getattr(record, field.name)
        return found

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, those of a record as `record__field`. Raises `ValueError` for unknown ones."""
        BaseEstimator.set_params(self, **{k: v for k, v in params.items() if "__" not in k})
        changes: dict[str, dict[str, Any]] = {}
        for key, value in params.items():
            name, nested, field = key.partition("__")
            if nested:
                changes.setdefault(name, {})[field] = value
        for name, values in changes.items():
            given = getattr(self, name, None)
            record = self._record(name, given)
            known = [] if record is None else [field.name for field in fields(record)]
            for field in values:
                if field not in known:
                    has = f"it has {', '.join(known)}" if known else "it has no fields"
                    raise InputError(f"{name}__{field}: {name} is {given!r}; {has}")
            setattr(self, name, replace(record, **values))
        return self

    def _record(self, name: str, value: Any) -> Any:
        """The record that a parameter's value is or stands for, or None."""
        if name == "architecture" and isinstance(value, str) and value in ARCHITECTURES:
            return ARCHITECTURES[value]()
        value = self._filled(name, value)
        return value if is_dataclass(value) and not isinstance(value, type) else None

    def _filled(self, name: str, value: Any) -> Any:
        """The value of a parameter, or what its None stands for."""
        records = {type(record).__name__.lower(): record for record in self._defaults}
        return records.get(name) if value is None else value
