//! Names users see in Python, one file per class; the only room that names pyo3 and numpy.
