"""The draft model of a runner: what must hold before it may guess."""

from collections.abc import Callable
from pathlib import Path

from cama.core.errors import CamaError, InvalidOption, RunnerError, Unsupported
from cama.core.load import LoadOptions
from cama.engine.base import Engine
from cama.engine.speculation.vocabulary import read_vocabulary, require_same

OpenEngine = Callable[[Path, LoadOptions, Callable[[float], None]], Engine]

_OPTION = "draft_model"


def open_draft(path: Path, load: LoadOptions, open_engine: OpenEngine) -> Engine | None:
    """The draft model that ``load`` asks for, for the model at ``path``, which is not loaded yet.

    Raises InvalidOption, naming what is wrong, and RunnerError where the load fails.
    """
    if load.draft is None:
        return None
    wanted = read_vocabulary(path)
    try:
        require_same(wanted, read_vocabulary(load.draft.path))
        engine = open_engine(load.draft.path, load.for_draft(), lambda fraction: None)
        _require_guessing(engine)
    except InvalidOption:
        raise
    except CamaError as error:
        kind = type(error) if isinstance(error, RunnerError) else InvalidOption
        raise kind(f"the draft model cannot be used: {error.message}", option=_OPTION) from error
    return engine


def _require_guessing(engine: Engine) -> None:
    reason = ""
    if not engine.info.generates:
        reason = "it embeds texts, it does not continue them"
    elif not engine.info.can_cut:
        reason = "it keeps a running state, which cannot take back what was guessed in vain"
    if reason:
        engine.close()
        raise Unsupported(reason)


def require_drafted(engine: Engine, draft: Engine | None) -> None:
    """Raise InvalidOption, and close both, when ``engine`` cannot make use of ``draft``."""
    if draft is None or (engine.info.generates and engine.info.can_cut):
        return
    engine.close()
    draft.close()
    reason = "keeps a running state" if engine.info.generates else "embeds texts"
    raise InvalidOption(f"the model {reason}: a draft model cannot help it", option=_OPTION)
