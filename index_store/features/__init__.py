"""Features: the declaration, the encoder, tower inputs, interaction features from an inverted index, ragged arrays."""
