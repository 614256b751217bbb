//! Revisions as people push them.
