"""Faster ways to compute what plain Keras layers compute; the numbers are the same.

Which way is taken is never hidden: training takes the gradients made for the CPU unless
`use_cpu_gradients(model, False)` switched them off, and inference folds and compiles
in the twin that `inference_twins` makes of a model, not in the model itself.
"""
