//! Small documents through the reader, each for one thing.
