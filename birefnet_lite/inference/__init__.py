"""From photos to masks and cut-outs, in memory limits, and the export to other runtimes."""
