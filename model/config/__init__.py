"""Settings of the offline job: frozen dataclasses, saved with the run and rebuilt from it; the flags made of them."""
