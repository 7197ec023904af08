"""The density models, one file each; import them from `gormpo_density`."""
