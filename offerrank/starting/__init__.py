"""`offerrank init`: a first market file, from a training log or from a few answers."""
