"""How the language model that ships with Cama is made; needed to make it again, never to run it."""
