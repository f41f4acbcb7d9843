"""The files that pass between stages and commands, each named once. A stage's files lie in its
directory of the run; `rlhfkit.data.artifacts` reads completions and rankings, and checks them."""

METRICS_FILE = "metrics.jsonl"
"""Every stage that logs: a row of numbers a step. Read by report and doctor."""

COUNTS_FILE = "counts.json"
"""Stage prepare: how many rows each step left. Read by report."""

EPOCHS_FILE = "epochs.json"
"""Stage sft with `select_by`: what each epoch's model came to."""

FRONTIER_FILE = "frontier.json"
"""Stage rl with `select_by`: the policies it compared, and which it kept. Read by report."""

COMPLETIONS_FILE = "completions.jsonl"
"""Stage sample: a row a prompt. Read by label and doctor."""

RANKINGS_FILE = "rankings.jsonl"
"""Stage label: a row a prompt and labeler. Read by reward_model and optimizer=dpo."""

AGREEMENT_FILE = "agreement.json"
"""Stage label: how far labelers agree, and each of them with the rest. Read by report."""

RESULT_FILE = "result.json"
"""Stage reward_model: validation accuracy. Read by report."""

SAMPLES_FILE = "samples.jsonl"
"""Stage evaluate: a row a policy and prompt. Read by report."""

EVALUATION_FILE = "metrics.json"
"""Stage evaluate: numbers with intervals, by policy. Read by report, compare and doctor."""

ROWS = "rows"
"""Stage evaluate: a folder with what each evaluator's numbers are taken over, a file each."""

NOTES_FILE = "notes.json"
"""Stage evaluate: by evaluator, why it was not run, or not on everything. Read by report."""

TAX_FILE = "tax.json"
"""Stage evaluate: paired differences from the base and the SFT model. Read by report and gates."""

JUDGEMENTS_FILE = "judgements.sqlite"
"""In the run's directory itself: what people said in the browser. Read by labeler=people."""

VOTES_FILE = "chat/rankings.jsonl"
"""Command chat: a row a vote, as data.files.rankings reads them; below the run's directory."""
