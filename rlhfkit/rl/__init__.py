"""The numeric core: pure functions of tensors, importing only torch and the standard library.

The axes of a tensor are written as capital letters at the end of its name, so that `values_BT` is
one value per token of each response:

    B  responses in a batch          K  completions of one prompt
    T  tokens of a response,         G  prompts, each a group of K completions
       right-padded                  N  tokens of a batch, flattened
    V  vocabulary                    C  tokens of a chunk of those N
    D  hidden size

A mask is boolean and True at the entries that count. Whatever stands at the other entries, NaN and
infinity included, changes neither a result nor a gradient.

Modules, in the order a batch meets them:

    shapes      checks on entry: every function asserts shapes, dtypes and ranges
    masking     which tokens belong to a response; sums, means and variances over them
    onednn      linear layers on processors whose AVX-512 MKL leaves unused
    logprobs    log-probabilities and entropies of tokens, whole or chunk by chunk
    kl          estimates of the KL divergence, the penalised reward, the adaptive coefficient
    whitening   rewards and advantages to unit variance
    advantages  GAE, discounted returns, leave-one-out, group-relative
    aggregation how much each token weighs in a loss over responses
    losses      PPO, value, REINFORCE, pretraining and ranking losses
"""
