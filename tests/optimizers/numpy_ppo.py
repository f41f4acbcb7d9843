"""One PPO-ptx step in NumPy, written from the papers and independent of the project's code.

The model is a table: state E[previous token], logits E W^T, value Ev v + c, with gradients by hand.
"""

import numpy as np


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def advantages_and_returns(p, batch, options):
    """Penalised rewards, GAE with lambda, whitened advantages; a row per episode."""
    advantages, returns, values = [], [], []
    for previous, old, ref, score in zip(
        batch["previous"], batch["old"], batch["ref"], batch["scores"], strict=True
    ):
        v = p["Ev"][previous] @ p["v"] + p["c"]
        r = -options["kl_coef"] * (np.array(old) - np.array(ref))
        r[-1] += score
        a, running = np.zeros(len(r)), 0.0
        for t in reversed(range(len(r))):
            following = v[t + 1] if t + 1 < len(r) else 0.0
            running = (
                r[t]
                + options["gamma"] * following
                - v[t]
                + (options["gamma"] * options["lam"] * running)
            )
            a[t] = running
        advantages.append(a)
        returns.append(a + v)
        values.append(v)
    everything = np.concatenate(advantages)
    mean, variance = everything.mean(), everything.var(ddof=1)
    whitened = [(a - mean) / np.sqrt(variance + 1e-8) for a in advantages]
    return whitened, returns, values


def policy_gradient(p, previous, ids, weights, temperature):
    """Gradient of sum_t weights_t logprob_t, by parameter."""
    h = p["E"][previous]
    probabilities = np.exp(log_softmax(h @ p["W"].T / temperature))
    d = -probabilities * np.array(weights)[:, None]
    d[np.arange(len(ids)), ids] += weights
    d /= temperature
    gradient = {"W": d.T @ h, "E": np.zeros_like(p["E"])}
    np.add.at(gradient["E"], previous, d @ p["W"])
    return gradient


def mini_batch_gradient(p, batch, targets, rows, options):
    """Gradients of the clipped policy loss and of the clipped value loss."""
    advantages, returns, old_values = targets
    tokens = sum(len(batch["ids"][row]) for row in rows)
    total = {name: np.zeros_like(value) for name, value in p.items()}
    for row in rows:
        previous, ids = batch["previous"][row], batch["ids"][row]
        logits = p["E"][previous] @ p["W"].T / options["temperature"]
        logprob = log_softmax(logits)[np.arange(len(ids)), ids]
        ratio = np.exp(logprob - batch["old"][row])
        a, eps = advantages[row], options["cliprange"]
        clipped_is_worse = -a * np.clip(ratio, 1 - eps, 1 + eps) > -a * ratio
        weights = np.where(clipped_is_worse, 0.0, -a * ratio) / tokens
        for name, value in policy_gradient(
            p, previous, ids, weights, options["temperature"]
        ).items():
            total[name] += value

        h = p["Ev"][previous]
        v = h @ p["v"] + p["c"]
        clip = options["cliprange_value"]
        v_clipped = np.clip(v, old_values[row] - clip, old_values[row] + clip)
        error, error_clipped = (v - returns[row]) ** 2, (v_clipped - returns[row]) ** 2
        inside = np.abs(v - old_values[row]) <= clip
        d = np.where(error >= error_clipped, v - returns[row], (v_clipped - returns[row]) * inside)
        d = options["vf_coef"] * d / tokens
        total["v"] += d @ h
        total["c"] += d.sum()
        np.add.at(total["Ev"], previous, d[:, None] * p["v"])
    return total


def ptx_gradient(p, texts, coef):
    """Gradient of -coef times the mean log-likelihood of next tokens."""
    count = sum(len(text) - 1 for text in texts)
    total = {"W": np.zeros_like(p["W"]), "E": np.zeros_like(p["E"])}
    for text in texts:
        weights = [-coef / count] * (len(text) - 1)
        for name, value in policy_gradient(p, text[:-1], np.array(text[1:]), weights, 1.0).items():
            total[name] += value
    return total


def clip_norm(gradient, names, limit):
    norm = np.sqrt(sum((gradient[name] ** 2).sum() for name in names))
    if norm > limit:
        for name in names:
            gradient[name] = gradient[name] * limit / norm


class AdamW:
    """Loshchilov and Hutter 2019, without decay."""

    def __init__(self, beta1, beta2, epsilon):
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.m, self.s, self.t = {}, {}, 0

    def step(self, p, gradient, rates):
        self.t += 1
        for name, g in gradient.items():
            self.m[name] = self.beta1 * self.m.get(name, 0) + (1 - self.beta1) * g
            self.s[name] = self.beta2 * self.s.get(name, 0) + (1 - self.beta2) * g**2
            m = self.m[name] / (1 - self.beta1**self.t)
            s = self.s[name] / (1 - self.beta2**self.t)
            p[name] = p[name] - rates[name] * m / (np.sqrt(s) + self.epsilon)
