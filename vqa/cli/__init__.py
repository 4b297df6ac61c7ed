"""Commands of `vqa`: one file = one command."""
