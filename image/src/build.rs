//! Makes an image: fetches packages, takes out of them what is needed, and packs it with our programs.

use std::path::{Path, PathBuf};

use easyenclave_schemas::Digest;

use crate::deb::{Unpacked, scratch};
use crate::kernel::Kernel;
use crate::manifest::{Parts, Program};
use crate::packages::{Fetched, choose, fetch};
use crate::system::{Ours, Sources, system};
use crate::{ImageError, Manifest, Package, elf, place};

/// The kernel that is used when none is named: the newest of its line, and one that can show evidence of Intel TDX.
pub const DEFAULT_KERNEL: &str = "linux-image-6.12-cloud-amd64";

/// What an image is made of beside the kernel: commands, roots for TLS, and the libraries of programs written in Rust.
const PACKAGES: [&str; 4] = ["busybox-static", "ca-certificates", "libc6", "libgcc-s1"];

/// What an image is to be made of.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The kernel's package, or one that depends on the newest kernel.
    pub kernel: String,
    /// What the machine runs.
    pub agent: Agent,
    /// Programs that workloads are.
    pub programs: Vec<PathBuf>,
    /// Packages of libraries that agent or programs need beside the C library and the compiler's own.
    pub libraries: Vec<String>,
    /// An image whose packages are used again, so that the same programs give the same image.
    pub lock: Option<Manifest>,
}

/// The agent: a program that is called with `--config FILE` after these arguments.
#[derive(Debug, Clone)]
pub struct Agent {
    /// The file. Its name is kept.
    pub program: PathBuf,
    /// Its first arguments, single words.
    pub args: Vec<String>,
}

impl Spec {
    /// The agent's own program and nothing else, of today's packages.
    pub fn small(agent: PathBuf) -> Self {
        Self {
            kernel: DEFAULT_KERNEL.into(),
            agent: Agent {
                program: agent,
                args: Vec::new(),
            },
            programs: Vec::new(),
            libraries: Vec::new(),
            lock: None,
        }
    }

    /// The `easyenclave` program, which is an agent and the example workload among other things.
    pub fn one_binary(program: PathBuf) -> Self {
        let mut spec = Self::small(program);
        spec.agent.args = vec!["agent".into()];
        // libgit2 uses the system's zlib where it was built with it.
        spec.libraries = vec!["zlib1g".into()];
        spec
    }
}

/// Makes an image in the folder `out`, which takes the place of another image there. Packages are kept in `cache`.
///
/// # Errors
/// When something cannot be fetched, read, run or written, or is not what it should be. Then `out` is as it was.
pub async fn build(spec: &Spec, out: &Path, cache: &Path) -> Result<Manifest, ImageError> {
    std::fs::create_dir_all(cache).map_err(ImageError::file(cache))?;
    let cache = &std::path::absolute(cache).map_err(ImageError::file(cache))?;
    let others = PACKAGES
        .into_iter()
        .chain(spec.libraries.iter().map(String::as_str));
    let others: Vec<_> = others.collect();
    let chosen = choose(&spec.kernel, &others, spec.lock.as_ref()).await?;
    let fetched = fetch(chosen, cache).await?;
    let programs = programs(spec).await?;
    let agent = command(spec, &programs[0].name)?;
    let kernel = Kernel::of(&Unpacked::of(&fetched[0]).await?).await?;
    let sources = unpack(&fetched[1..]).await?;
    let tree = system(&sources, &kernel, &programs, &agent).await?;
    let parts = Parts {
        kernel: kernel.program,
        initramfs: tree.archive(),
        agent,
        programs: programs.iter().map(Ours::entry).collect(),
        packages: by_name(&fetched),
    };
    let manifest = Manifest::of(&parts);
    place::place(&parts, &manifest, out)?;
    Ok(manifest)
}

/// Unpacks the packages beside the kernel's, in the order of [`PACKAGES`], with those of more libraries behind them.
async fn unpack(fetched: &[Fetched]) -> Result<Sources, ImageError> {
    let mut unpacked = Vec::new();
    for package in fetched {
        unpacked.push(Unpacked::of(package).await?);
    }
    let libraries = unpacked.split_off(2);
    let certificates = unpacked.swap_remove(1);
    let busybox = unpacked.swap_remove(0);
    Ok(Sources {
        busybox,
        certificates,
        libraries,
    })
}

fn by_name(fetched: &[Fetched]) -> Vec<Package> {
    let mut packages: Vec<_> = fetched
        .iter()
        .map(|fetched| fetched.package.clone())
        .collect();
    packages.sort_by(|one, other| one.name.cmp(&other.name));
    packages
}

impl Ours<'_> {
    fn entry(&self) -> Program {
        Program {
            name: self.name.clone(),
            sha256: Digest::of(&self.bytes),
        }
    }
}

/// The agent's program and the others, without symbols.
async fn programs(spec: &Spec) -> Result<Vec<Ours<'_>>, ImageError> {
    let scratch = scratch()?;
    let mut programs: Vec<Ours<'_>> = Vec::new();
    for file in std::iter::once(&spec.agent.program).chain(&spec.programs) {
        let wrong = |reason| ImageError::Program {
            program: file.clone(),
            reason,
        };
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name
            .filter(|name| is_word(name))
            .ok_or_else(|| wrong("its name"))?;
        if programs.iter().any(|program| program.name == name) {
            return Err(wrong("another one has its name"));
        }
        let bytes = elf::stripped(file, scratch.path()).await?;
        let name = name.to_owned();
        programs.push(Ours { file, name, bytes });
    }
    Ok(programs)
}

/// The agent's command in the machine: words that its first program splits at spaces.
fn command(spec: &Spec, name: &str) -> Result<Vec<String>, ImageError> {
    let words = std::iter::once(format!("/usr/bin/{name}")).chain(spec.agent.args.clone());
    match spec.agent.args.iter().all(|word| is_word(word)) {
        true => Ok(words.collect()),
        false => Err(ImageError::Program {
            program: spec.agent.program.clone(),
            reason: "its arguments are letters, digits and `-_.=/:`",
        }),
    }
}

/// What no shell takes for anything but itself.
fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=/:".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
}
