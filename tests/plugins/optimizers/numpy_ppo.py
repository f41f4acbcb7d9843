"""One PPO-ptx step in NumPy, written from the papers and independent of the project's code.

The model is a table: state E[previous token], logits E W^T, value Ev v + c, with gradients by hand.
"""

import numpy as np


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def kl_estimate(logprob, ref, options):
    """Schulman's k1, k2 or k3 of each token, clipped, and its derivative by the log-probability."""
    d = np.array(logprob) - np.array(ref)
    kl, slope = {
        "k1": (d, np.ones_like(d)),
        "k2": (d**2 / 2, d),
        "k3": (np.exp(-d) - 1 + d, 1 - np.exp(-d)),
    }[options["kl_estimator"]]
    most = np.inf if options["kl_clip"] is None else options["kl_clip"]
    return np.clip(kl, -most, most), slope * (np.abs(kl) <= most)


def whitened(rows):
    everything = np.concatenate(rows)
    mean, variance = everything.mean(), everything.var(ddof=1)
    return [(row - mean) / np.sqrt(variance + 1e-8) for row in rows]


def advantages_and_returns(p, batch, options):
    """Penalised rewards, GAE with lambda, whitened advantages; a row per episode."""
    advantages, returns, values = [], [], []
    for previous, old, ref, score in zip(
        batch["previous"], batch["old"], batch["ref"], batch["scores"], strict=True
    ):
        v = p["Ev"][previous] @ p["v"] + p["c"]
        r = np.zeros(len(old))
        if not options["kl_in_loss"]:
            r -= options["kl_coef"] * kl_estimate(old, ref, options)[0]
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
    if options["whiten_advantages"] and not options["whiten_per_mini_batch"]:
        advantages = whitened(advantages)
    return advantages, returns, values


def logprobs_of(p, batch, row, options):
    logits = p["E"][batch["previous"][row]] @ p["W"].T / options["temperature"]
    return log_softmax(logits)[np.arange(len(batch["ids"][row])), batch["ids"][row]]


def approxkl(p, batch, rows, options):
    """Half the mean squared log-ratio to the policy that sampled."""
    return np.mean(
        np.concatenate(
            [(logprobs_of(p, batch, row, options) - batch["old"][row]) ** 2 / 2 for row in rows]
        )
    )


def policy_gradient(p, previous, ids, weights, temperature, entropy_weight=0.0):
    """Gradient of sum_t weights_t logprob_t + entropy_weight H_t, by parameter."""
    h = p["E"][previous]
    logprobs = log_softmax(h @ p["W"].T / temperature)
    probabilities = np.exp(logprobs)
    entropy = -(probabilities * logprobs).sum(-1, keepdims=True)
    d = -probabilities * np.array(weights)[:, None]
    d[np.arange(len(ids)), ids] += weights
    d -= entropy_weight * probabilities * (logprobs + entropy)
    d /= temperature
    gradient = {"W": d.T @ h, "E": np.zeros_like(p["E"])}
    np.add.at(gradient["E"], previous, d @ p["W"])
    return gradient


def mini_batch_gradient(p, batch, targets, rows, options):
    """Gradients of the clipped policy loss and of the clipped value loss."""
    advantages, returns, old_values = targets
    if options["whiten_per_mini_batch"]:
        advantages = dict(zip(rows, whitened([advantages[row] for row in rows]), strict=True))
    tokens = sum(len(batch["ids"][row]) for row in rows)
    total = {name: np.zeros_like(value) for name, value in p.items()}
    for row in rows:
        previous, ids = batch["previous"][row], batch["ids"][row]
        logprob = logprobs_of(p, batch, row, options)
        ratio = np.exp(logprob - batch["old"][row])
        a, eps = advantages[row], options["cliprange"]
        clipped_is_worse = -a * np.clip(ratio, 1 - eps, 1 + eps) > -a * ratio
        weights = np.where(clipped_is_worse, 0.0, -a * ratio) / tokens
        if options["kl_in_loss"]:
            slope = kl_estimate(logprob, batch["ref"][row], options)[1]
            weights = weights + options["kl_coef"] * slope / tokens
        for name, value in policy_gradient(
            p, previous, ids, weights, options["temperature"], -options["entropy_coef"] / tokens
        ).items():
            total[name] += value

        h = p["Ev"][previous]
        v = h @ p["v"] + p["c"]
        clip = np.inf if options["cliprange_value"] is None else options["cliprange_value"]
        v_clipped = np.clip(v, old_values[row] - clip, old_values[row] + clip)
        x, x_clipped = v - returns[row], v_clipped - returns[row]
        inside = np.abs(v - old_values[row]) <= clip
        delta = np.inf if options["value_huber_delta"] is None else options["value_huber_delta"]
        # Huber's derivative is the error, clipped; the larger error has the larger loss
        d = np.where(np.abs(x) >= np.abs(x_clipped), x, x_clipped * inside)
        d = np.clip(d, -delta, delta)
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
