"""Krajewski 2024 and Abnar 2025: kept to be studied; neither is trusted outside its small range."""

from __future__ import annotations

import numpy as np

from ..solve import bisect


def krajewski_loss(total, tokens, granularity, k: dict):
    """Loss of the fine-grained MoE (Eq. 9), N total non-embedding parameters."""
    return (
        k["c"]
        + (k["g"] / np.asarray(granularity, dtype=float) ** k["gamma"] + k["a"]) / np.asarray(total) ** k["alpha"]
        + k["b"] / np.asarray(tokens) ** k["beta"]
    )


def krajewski_dense_loss(size, tokens, k: dict):
    """Loss of the dense model of the same study."""
    return (
        k["c"]
        + k["dense_a"] / np.asarray(size) ** k["dense_alpha"]
        + k["dense_b"] / np.asarray(tokens) ** k["dense_beta"]
    )


def krajewski_q(active, total, tokens, granularity, k: dict):
    """Dense size of equal loss on the same tokens, over active; nan if none."""
    room = krajewski_loss(total, tokens, granularity, k) - k["c"] - k["dense_b"] / np.asarray(tokens) ** k["dense_beta"]
    return np.where(room > 0, (k["dense_a"] / np.maximum(room, 1e-300)) ** (1.0 / k["dense_alpha"]), np.nan) / active


def krajewski_leverage(flop, granularity, k: dict, total_over_active: float = 43.0):
    """Dense FLOP over MoE FLOP at equal loss, both compute-optimal; E = 64 has N = 43 N_a."""
    scale = total_over_active

    def best(c, a, alpha, b, beta, ratio):
        c6 = np.asarray(c, dtype=float) / 6.0
        n = (a * ratio**-alpha * alpha / (b * beta) * c6**beta) ** (1.0 / (alpha + beta))
        return a * (ratio * n) ** -alpha + b * (c6 / n) ** -beta

    mine = best(flop, k["g"] / granularity ** k["gamma"] + k["a"], k["alpha"], k["b"], k["beta"], scale)

    def gain(c):
        return mine - best(c, k["dense_a"], k["dense_alpha"], k["dense_b"], k["dense_beta"], 1.0)

    flop = np.asarray(flop, dtype=float)
    return bisect(gain, flop, flop * 1e6, log=True) / flop


def abnar_loss(total, tokens, inactive, k: dict):
    """Eq. 6; inactive is S, the fraction of parameters a token leaves unused."""
    total, live = np.asarray(total, dtype=float), 1.0 - np.asarray(inactive, dtype=float)
    return (
        k["a"] / total ** k["alpha"]
        + k["b"] / np.asarray(tokens, dtype=float) ** k["beta"]
        + k["c"] / live ** k["lambda"]
        + k["d"] / (live ** k["delta"] * total ** k["gamma"])
        + k["e"]
    )


def abnar_q(active, total, tokens, k: dict):
    """Dense size of equal loss on the same tokens, over active; nan if none within 1e6 of it."""
    active = np.asarray(active, dtype=float)
    target = abnar_loss(total, tokens, 1.0 - active / np.asarray(total), k)

    def gain(n):
        return target - abnar_loss(n, tokens, 0.0, k)

    root = bisect(gain, active * 1e-2, active * 1e6, log=True)
    return np.where(gain(active * 1e6) > 0, root / active, np.nan)[()]
