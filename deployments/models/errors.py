"""Why a model can't be loaded: one class, whose sentence says what was expected, what came and what to do."""


class ModelUnavailable(RuntimeError):
    """A model's packages, weights or device are missing. ``str()`` is the sentence for the operator."""
