"""Build the pipeline so that it runs on this machine: what is there, where its parts go, and one edit."""
