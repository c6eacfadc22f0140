"""Features: the declaration, the encoder, tower inputs, interaction features by inverted index, ragged arrays."""
