"""``python -m cama`` is the ``cama`` command."""

from cama.cli.main import main

if __name__ == "__main__":
    main()
