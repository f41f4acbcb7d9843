"""An exported folder to the Hugging Face hub, or a list of what would go."""

from pathlib import Path

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id

from rlhfkit.errors import UserError


def check_push(repository: str, dry_run: bool) -> None:
    """`UserError` for a name that the hub does not take, and where nobody is logged in: before
    anything is written."""
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UserError(f"export.push={repository}: {error}") from error
    if repository.count("/") != 1:
        raise UserError(f"export.push={repository}: say whose, as in export.push=me/{repository}")
    if dry_run:
        return
    if constants.HF_HUB_OFFLINE:
        raise UserError(f"export.push={repository}: HF_HUB_OFFLINE is set, so nothing can be sent")
    if get_token() is None:
        raise UserError(
            f"export.push={repository}: not logged in; run `hf auth login`, or set HF_TOKEN"
        )


def files_of(folder: Path) -> list[tuple[str, int]]:
    """What would go: names and bytes."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [(str(path.relative_to(folder)), path.stat().st_size) for path in found]


def push(folder: Path, repository: str, private: bool) -> str:
    """Send a folder; gives its page. Raises `UserError` where the hub refuses."""
    api = HfApi()
    try:
        page = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message="Exported by rlhfkit"
        )
    except Exception as error:  # the client's errors have no base of Python's own
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"export.push={repository}: {reason}; {folder} is whole") from error
    return str(page)
