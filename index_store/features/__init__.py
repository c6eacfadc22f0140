"""Features: the encoder, tower inputs, interaction features from an inverted index, spectral vectors, ragged arrays."""
