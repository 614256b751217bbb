//! Makes an image: fetches packages, takes out of them what is needed, and packs it with our programs.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
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
    let out = &std::path::absolute(out).map_err(ImageError::file(out))?;
    let cache = &std::path::absolute(cache).map_err(ImageError::file(cache))?;
    place::refuse_strangers(out)?;
    open_cache(cache, out)?;
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
    let strip = stripped_by(&programs).await?;
    let tree = system(&sources, &kernel, &programs, &agent).await?;
    let parts = Parts {
        kernel: kernel.program,
        initramfs: tree.archive(),
        agent,
        programs: programs.iter().map(Ours::entry).collect(),
        packages: by_name(&fetched),
        strip,
    };
    let manifest = Manifest::of(&parts);
    place::place(&parts, &manifest, out)?;
    Ok(manifest)
}

/// Makes the folder where packages are kept, for its owner to write in; what others can write in is not used.
fn open_cache(cache: &Path, out: &Path) -> Result<(), ImageError> {
    if cache.starts_with(out) {
        return Err(ImageError::Inside(cache.to_path_buf()));
    }
    let mut folder = DirBuilder::new();
    folder.recursive(true).mode(0o755);
    folder.create(cache).map_err(ImageError::file(cache))?;
    let found = fs::metadata(cache).map_err(ImageError::file(cache))?;
    let ours = [0, rustix::process::geteuid().as_raw()].contains(&found.uid());
    match ours && found.mode() & 0o022 == 0 {
        true => Ok(()),
        false => Err(ImageError::Shared(cache.to_path_buf())),
    }
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
            given: Some(self.given),
        }
    }
}

/// What took the symbols away, where there were any: another version of it may lay out the same program otherwise.
async fn stripped_by(programs: &[Ours<'_>]) -> Result<Option<String>, ImageError> {
    let is_changed = |program: &Ours<'_>| Digest::of(&program.bytes) != program.given;
    match programs.iter().any(is_changed) {
        true => elf::version().await.map(Some),
        false => Ok(None),
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
        let (given, bytes) = elf::stripped(file, scratch.path()).await?;
        let name = name.to_owned();
        programs.push(Ours {
            file,
            name,
            given,
            bytes,
        });
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn what_cannot_end_well_is_said_before_anything_is_fetched() {
        let dir = tempfile::tempdir().expect("a folder");
        let (out, cache) = (dir.path().join("out"), dir.path().join("cache"));
        // Nobody has such a package, which is what would be said otherwise.
        let mut spec = Spec::small("/no/agent".into());
        spec.kernel = "no-such-package-at-all".into();
        let error = build(&spec, &out, &out.join("cache")).await;
        let error = error.expect_err("inside");
        assert!(matches!(error, ImageError::Inside(_)), "{error}");
        fs::create_dir(&out).expect("made");
        fs::write(out.join("thesis.txt"), "dear").expect("written");
        let error = build(&spec, &out, &cache).await.expect_err("occupied");
        assert!(matches!(error, ImageError::Occupied(_)), "{error}");
        assert!(!cache.exists());
    }

    #[test]
    fn a_cache_that_others_can_write_in_is_not_used() {
        let dir = tempfile::tempdir().expect("a folder");
        let (out, cache) = (dir.path().join("out"), dir.path().join("a/cache"));
        open_cache(&cache, &out).expect("made");
        for (mode, is_used) in [(0o700, true), (0o775, false), (0o1777, false)] {
            fs::set_permissions(&cache, fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(open_cache(&cache, &out).is_ok(), is_used, "{mode:o}");
        }
    }
}
