"""Step 4 of 6, the rules: claims of libraries, tasks of architectures, ties; `models.resolve` puts them together."""
