"""The one error that models raise on purpose."""


class ModelDataError(ValueError):
    """The data do not allow what was asked: too few rows, one class only, missing columns.

    The message says what is wrong and how to mend it, and never quotes a person's data. The
    library wraps it as ``customer360.exceptions.ModelError``.
    """
