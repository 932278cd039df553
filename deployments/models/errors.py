"""Why a model can't be loaded: one class, one sentence that says what was expected, what came and what to do."""


class ModelUnavailable(RuntimeError):
    """A model's packages, weights or device are not there. ``str()`` is the sentence for the operator."""
