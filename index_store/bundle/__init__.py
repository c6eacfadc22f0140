"""The bundle: the contract between the offline job and the service. Its files, manifest, pointer and older formats."""
