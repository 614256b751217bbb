//! Compose files of all kinds through the reader: those of projects that people run, accepted or refused for a stated rule, and
//! broken ones, each with what exactly is said of it. Judges beside us are the official schema and Compose itself.

mod corpus;
mod fields;
mod hostile;
mod oracle;
mod rendered;
