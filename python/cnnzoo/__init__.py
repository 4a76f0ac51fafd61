"""The classic image-classification networks, equal to their sources."""
from cnnzoo import _libtorch
_libtorch.load()
from cnnzoo import _native
