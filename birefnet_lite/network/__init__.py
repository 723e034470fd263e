"""The parts of BiRefNet, one file each, and the network that joins them (`birefnet.py`)."""
