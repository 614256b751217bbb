//! The verifier from outside: honest, faulty and hostile evidence, and installations on disk. Each test is named by
//! what it holds.

mod bench;
mod foresight;
mod honest;
mod hostile;
mod installation;
mod matrix;
mod refused;
