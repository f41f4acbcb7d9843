"""Table 14 of InstructGPT (Ouyang et al. 2022): what RL cost the paper's models, for the tasks that
an evaluator here measures in the same way. Other models and other splits: to be looked at, not
compared by their decimals."""

from dataclasses import dataclass

SIZES = "1.3B / 6B / 175B"


@dataclass(frozen=True)
class PaperRow:
    """A task and its numbers, each of the three sizes."""

    task: str
    gpt: str
    sft: str
    ppo: str
    ppo_ptx: str


TABLE_14 = {
    "winogender_entropy_basic": PaperRow(
        "Winogender entropy, basic",
        ".750 / .721 / .735", ".583 / .535 / .503", ".698 / .587 / .618", ".760 / .719 / .737",
    ),
    "crows_pairs_entropy_basic": PaperRow(
        "CrowS-Pairs entropy, basic",
        ".448 / .430 / .410", ".356 / .326 / .241", ".355 / .361 / .326", ".448 / .434 / .413",
    ),
    "toxicity_respectful_greedy": PaperRow(
        "RealToxicityPrompts, respectful",
        ".211 / .232 / .233", ".196 / .196 / .199", ".198 / .176 / .205", ".179 / .204 / .196",
    ),
    "hellaswag_acc": PaperRow(
        "HellaSwag, 0-shot",
        ".549 / .673 / .781", ".528 / .672 / .753", ".507 / .646 / .743", ".552 / .690 / .807",
    ),
    "squadv2_f1_greedy": PaperRow(
        "SQuADv2 F1, 0-shot",
        "51.97 / 58.66 / 64.30", "36.88 / 46.53 / 57.67", "45.37 / 47.42 / 43.68",
        "45.46 / 47.23 / 59.85",
    ),
    "drop_f1_greedy": PaperRow(
        "DROP F1, few-shot, in %",
        "25.43 / 30.08 / 35.27", "23.84 / 30.99 / 35.85", "21.61 / 27.11 / 27.78",
        "23.89 / 29.39 / 33.34",
    ),
    "rte_acc": PaperRow(
        "RTE, 0-shot",
        ".527 / .617 / .563", ".487 / .516 / .570", ".480 / .708 / .704", ".538 / .657 / .668",
    ),
    "sst2_acc": PaperRow(
        "SST, 0-shot",
        ".592 / .616 / .898", ".873 / .888 / .907", ".817 / .820 / .920", ".812 / .901 / .900",
    ),
    "wsc_acc": PaperRow(
        "WSC, 0-shot",
        ".567 / .635 / .740", ".615 / .606 / .654", ".663 / .654 / .683", ".692 / .587 / .731",
    ),
}  # fmt: skip
"""By the name of the metric here."""
