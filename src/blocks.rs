//! Phrases that two or more families use.
