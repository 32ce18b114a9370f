"""The commands by name: what the help says of them without importing any."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """``cama.cli.MODULE`` has a function ``command``; ``variables`` are settings it depends on."""

    module: str
    summary: str
    variables: tuple[str, ...]


_SERVER = ("CAMA_HOST", "CAMA_API_KEY")
_CLIENT = (*_SERVER, "CAMA_MODELS")

COMMANDS = {
    "serve": Entry(
        "serve",
        "Start the server",
        (
            "CAMA_HOST", "CAMA_MODELS", "CAMA_MODEL_PATH", "CAMA_KEEP_ALIVE", "CAMA_LOAD_TIMEOUT",
            "CAMA_CONTEXT_LENGTH", "CAMA_NUM_PARALLEL", "CAMA_NUM_THREADS",
            "CAMA_MAX_LOADED_MODELS", "CAMA_MAX_QUEUE", "CAMA_ORIGINS", "CAMA_API_KEYS",
            "CAMA_API_KEY_FILE", "CAMA_ENGINE", "CAMA_NOPRUNE", "CAMA_DEBUG",
        ),
    ),
    "create": Entry("create", "Create a model from a Modelfile", _CLIENT),
    "imatrix": Entry(
        "imatrix", "Measure what matters in a model, for quantizing",
        ("CAMA_MODELS", "CAMA_NUM_THREADS"),
    ),
    "quantize": Entry(
        "quantize", "Quantize a GGUF file or a model", ("CAMA_MODELS", "CAMA_NUM_THREADS")
    ),
    "show": Entry("show", "Show what is known of a model", _CLIENT),
    "plan": Entry("plan", "Show what memory a model would take", _CLIENT),
    "run": Entry("run", "Run a model", (*_CLIENT, "CAMA_HOME")),
    "pull": Entry("pull", "Pull a model from a registry", _CLIENT),
    "push": Entry("push", "Push a model to a registry", _CLIENT),
    "stop": Entry("stop", "Unload a model that is running", _SERVER),
    "list": Entry("list", "List models", _CLIENT),
    "ps": Entry("ps", "List models that are running", _SERVER),
    "verify": Entry(
        "verify",
        "Compare both engines on a model",
        ("CAMA_MODELS", "CAMA_MODEL_PATH", "CAMA_NUM_THREADS"),
    ),
    "devices": Entry(
        "devices", "Show what computes here", ("CAMA_KERNELS", "CAMA_NUM_THREADS")
    ),
    "cp": Entry("cp", "Copy a model", _CLIENT),
    "doctor": Entry("doctor", "Look for damage in the model store, and mend it", ("CAMA_MODELS",)),
    "rm": Entry("rm", "Remove models", _CLIENT),
}  # fmt: skip

ALIASES = {"ls": "list", "start": "serve"}
