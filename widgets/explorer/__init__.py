"""The live explorer: a page in which the network runs, and what it is made of."""
