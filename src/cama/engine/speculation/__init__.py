"""Tokens guessed ahead and checked in one pass: who guesses, when it pays, what is kept."""
