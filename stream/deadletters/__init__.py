"""Dead letters: what they say, which are wanted, and which may be sent again. No I/O."""
