//! Makes the image that machines boot: a kernel and one archive with everything else, from Debian's packages and our
//! own programs. The same packages and programs give the same bytes, wherever and whenever they are put together.

mod build;
mod child;
mod cpio;
mod deb;
mod elf;
mod error;
mod kernel;
mod manifest;
mod packages;
mod place;
mod system;

pub use build::{Agent, DEFAULT_KERNEL, Spec, build};
pub use error::ImageError;
pub use manifest::{COMMAND_LINE, Manifest, Package, Part, Program};
