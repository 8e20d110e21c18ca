"""Serving predictions calibrated on measurements: time per output token, time to first token, throughput.

shapes -> table -> physics -> serve -> predict, with constants from data/calibration. Reading the optional
package aiconfigurator-core (silicon, kernels, validate) and SciPy (fit) happens inside functions only.
"""
