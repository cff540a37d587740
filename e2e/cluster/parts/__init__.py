"""The Kubernetes objects of each component, read from the modules that the programs were compiled from."""
