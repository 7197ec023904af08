"""What augmentation does to classifiers of the UCR archive's sets."""
