"""A process that changes a store without end: ``worker.py ROOT FILE SEED``.

It creates, copies and deletes a few models and prunes, with no mercy for young files, and says
each thing that fails. The first line of its output is ``ready``.
"""

import random
import sys
from pathlib import Path

from cama.core.errors import CamaError, ModelNotFound
from cama.modelfile.create import create_model
from cama.modelfile.parser import parse_modelfile
from cama.store import pruning
from cama.store.store import Store

NAMES = ("a", "b", "c")


def main(root: Path, file: Path, seed: int) -> None:
    pruning.GRACE_SECONDS = 0
    chance, store = random.Random(seed), Store(root)
    say("ready")
    while True:
        try:
            change(chance, store, file)
        except ModelNotFound:  # the others have deleted it
            pass
        except CamaError as error:
            say(f"{type(error).__name__}: {error.message}")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def change(chance: random.Random, store: Store, file: Path) -> None:
    name, other = chance.choice(NAMES), chance.choice(NAMES)
    match chance.randrange(6):
        case 0 | 1:
            text = f"FROM {file}\nSYSTEM Be {chance.randrange(3)}.\n"
            create_model(store, name, parse_modelfile(text), file.parent, lambda line: None)
        case 2:
            text = f"FROM {other}\nSYSTEM Be {chance.randrange(3)}.\n"
            create_model(store, name, parse_modelfile(text), file.parent, lambda line: None)
        case 3:
            store.copy(name, other)
        case 4:
            store.delete(name)
        case 5:
            store.prune()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
