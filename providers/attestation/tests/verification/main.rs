//! The verifier from outside: simulated and real evidence, hostile bytes, installations on disk. Each test is named
//! by what it holds.

mod bench;
mod honest;
