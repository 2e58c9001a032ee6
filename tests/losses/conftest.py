import numpy as np
import pytest


@pytest.fixture
def central_differences():
    """d function / d x by central differences in float64."""

    def gradient(function, x, step=1e-6):
        x = np.array(x, np.float64)
        result = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            kept = x[index]
            x[index] = kept + step
            above = function(x)
            x[index] = kept - step
            result[index] = (above - function(x)) / (2 * step)
            x[index] = kept
        return result

    return gradient
