//! Debian's packages, through the system's own package manager: it checks who signed its lists, and they say the SHA-256
//! of every package. What was fetched is kept under that digest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use easyenclave_schemas::Digest;

use crate::child::Tool;
use crate::{ImageError, Manifest, Package};

/// The longest stanza's lists are read from disk, and on a machine without a cache of them that takes seconds.
const LIST: Tool = Tool {
    program: "apt-cache",
    package: "apt",
    limit: Duration::from_secs(60),
};

/// A kernel is 35 MB; so much in five minutes is the slowest connection that is worth waiting for.
const FETCH: Tool = Tool {
    program: "apt-get",
    package: "apt",
    limit: Duration::from_secs(5 * 60),
};

/// A package with its bytes, which have its digest.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// Its name, version and digest.
    pub(crate) package: Package,
    /// The file, read once.
    pub(crate) bytes: Vec<u8>,
}

/// The packages of these names: the kernel first, by its own package or one that only depends on the newest, then the
/// others in their order, each once. They are those that would be installed today, or those of another image.
///
/// # Errors
/// When one is in no list, or not in the lock.
pub(crate) async fn choose(
    kernel: &str,
    others: &[&str],
    lock: Option<&Manifest>,
) -> Result<Vec<Package>, ImageError> {
    if let Some(lock) = lock {
        let kernel = locked(lock, kernel, is_kernel);
        let others = others
            .iter()
            .map(|name| locked(lock, name, |locked| locked == *name));
        let all: Result<_, _> = std::iter::once(kernel).chain(others).collect();
        return all.map(distinct);
    }
    let names = [&[kernel], others].concat();
    let mut stanzas = candidates(&names).await?;
    if let Some(newest) = stanzas[0].kernel.take() {
        stanzas[0] = candidates(&[&newest]).await?.swap_remove(0);
    }
    let packages = stanzas.into_iter().map(|stanza| stanza.package);
    Ok(distinct(packages.collect()))
}

/// Each package where it is named first.
fn distinct(packages: Vec<Package>) -> Vec<Package> {
    let mut met = BTreeSet::new();
    let is_new = |package: &Package| met.insert(package.name.clone());
    packages.into_iter().filter(is_new).collect()
}

/// Brings these packages to this machine, into a folder where they are kept under their digests. What is given back is
/// what was held against them: nothing that the folder holds later is believed.
///
/// # Errors
/// When one cannot be had any more, or is not what it should be.
pub(crate) async fn fetch(
    packages: Vec<Package>,
    cache: &Path,
) -> Result<Vec<Fetched>, ImageError> {
    let mut missing = Vec::new();
    let mut there = BTreeMap::new();
    for package in &packages {
        match kept(package, cache)? {
            Some(bytes) => {
                there.insert(package.sha256, bytes);
            }
            None => missing.push(package),
        }
    }
    for package in &missing {
        is_offered(package).await?;
    }
    if !missing.is_empty() {
        there.extend(download(&missing, cache).await?);
    }
    let take = |package: Package| {
        let bytes = there.remove(&package.sha256);
        let bytes = bytes.ok_or_else(|| not_fetched(&package.name))?;
        Ok(Fetched { package, bytes })
    };
    packages.into_iter().map(take).collect()
}

/// Where a package is kept.
fn place_of(package: &Package, cache: &Path) -> PathBuf {
    cache.join(format!("{}.deb", package.sha256))
}

/// The bytes of a package that is kept. What was cut short or changed is as good as none.
fn kept(package: &Package, cache: &Path) -> Result<Option<Vec<u8>>, ImageError> {
    let file = place_of(package, cache);
    match fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ImageError::file(&file)(error)),
        Ok(bytes) => Ok(Some(bytes).filter(|bytes| Digest::of(bytes) == package.sha256)),
    }
}

/// Has the package manager fetch them all at once, and keeps those that are what they should be.
async fn download(
    missing: &[&Package],
    cache: &Path,
) -> Result<Vec<(Digest, Vec<u8>)>, ImageError> {
    let folder = tempfile::tempdir_in(cache).map_err(ImageError::file(cache))?;
    // Without the option apt complains, as root, of a folder that its own user cannot write to.
    let mut args: Vec<String> = ["download", "-q", "-o", "APT::Sandbox::User=root"]
        .map(str::to_owned)
        .into();
    args.extend(missing.iter().map(|package| versioned(package)));
    FETCH.run(folder.path(), &args).await?;
    let take = |package: &&Package| {
        let fetched = named(folder.path(), &package.name)?;
        let bytes = fs::read(&fetched).map_err(ImageError::file(&fetched))?;
        expect(&package.name, Digest::of(&bytes), package.sha256)?;
        let file = place_of(package, cache);
        fs::rename(&fetched, &file).map_err(ImageError::file(&file))?;
        Ok((package.sha256, bytes))
    };
    missing.iter().map(take).collect()
}

/// The package of a lock.
fn locked(
    lock: &Manifest,
    name: &str,
    is_it: impl Fn(&str) -> bool,
) -> Result<Package, ImageError> {
    let found = lock.packages.iter().find(|package| is_it(&package.name));
    found.cloned().ok_or_else(|| ImageError::NotLocked {
        package: name.to_owned(),
    })
}

/// A kernel itself has its version in its name, where one that depends on the newest has no digit, or two numbers.
fn is_kernel(name: &str) -> bool {
    let version = name.strip_prefix("linux-image-");
    version.is_some_and(|version| version.split(['.', '-', '+']).take(3).all(is_number))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What the lists say of one version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stanza {
    package: Package,
    /// The kernel that it depends on, where it is nothing else than that.
    kernel: Option<String>,
}

/// The versions that would be installed today, in the order of the names.
async fn candidates(names: &[&str]) -> Result<Vec<Stanza>, ImageError> {
    let args = [&["show", "--no-all-versions"], names].concat();
    let listed = match LIST.run(Path::new("/"), &args).await {
        Err(ImageError::Failed { words, .. }) if words.contains("No packages found") => Vec::new(),
        listed => listed?,
    };
    let stanzas = stanzas(&String::from_utf8_lossy(&listed));
    let find = |name: &&str| {
        let found = stanzas.iter().find(|stanza| stanza.package.name == *name);
        found.cloned().ok_or_else(|| ImageError::UnknownPackage {
            package: (*name).to_owned(),
        })
    };
    names.iter().map(find).collect()
}

/// Whether a version can still be had, and with the same bytes.
async fn is_offered(package: &Package) -> Result<(), ImageError> {
    let version = versioned(package);
    let listed = match LIST.run(Path::new("/"), &["show", &version]).await {
        Err(ImageError::Failed { .. }) => Vec::new(),
        listed => listed?,
    };
    if let Some(found) = stanzas(&String::from_utf8_lossy(&listed)).first() {
        return expect(&version, found.package.sha256, package.sha256);
    }
    let now = candidates(&[&package.name]).await.unwrap_or_default();
    Err(ImageError::VersionGone {
        package: package.name.clone(),
        wanted: package.version.clone(),
        now: now.into_iter().next().map(|now| now.package.version),
    })
}

/// A package as the package manager calls one version of it.
fn versioned(package: &Package) -> String {
    format!("{}={}", package.name, package.version)
}

/// Reads the stanzas that say where a package can be had. What dpkg knows of an installed one does not.
fn stanzas(listed: &str) -> Vec<Stanza> {
    let read = |stanza: &str| {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name));
        let package = Package {
            name: field("Package: ")?.to_owned(),
            version: field("Version: ")?.to_owned(),
            sha256: Digest::parse(field("SHA256: ")?)?,
        };
        let depends = field("Depends: ").unwrap_or_default();
        let mut names = depends.split(", ").filter_map(|one| one.split(' ').next());
        let kernel = names.find(|name| is_kernel(name)).map(str::to_owned);
        let kernel = kernel.filter(|_| !is_kernel(&package.name));
        Some(Stanza { package, kernel })
    };
    listed.split("\n\n").filter_map(read).collect()
}

/// The file of a package in a folder: its name, then its version.
fn named(folder: &Path, package: &str) -> Result<PathBuf, ImageError> {
    let entries = fs::read_dir(folder).map_err(ImageError::file(folder))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let start = format!("{package}_");
    let is_it = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(&start))
    };
    paths.find(is_it).ok_or_else(|| not_fetched(package))
}

fn not_fetched(package: &str) -> ImageError {
    ImageError::Failed {
        program: FETCH.program,
        words: format!("it has not fetched {package}"),
    }
}

fn expect(what: &str, found: Digest, expected: Digest) -> Result<(), ImageError> {
    match found == expected {
        true => Ok(()),
        false => Err(ImageError::Digest {
            what: what.to_owned(),
            expected,
            found,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "ab2bd6d92fedce96f7fb3f51a0dfefadf069a32023927150d7ddaeb3aed1464c";

    #[test]
    fn a_stanza_says_what_to_fetch_and_which_kernel_it_stands_for() {
        let listed = format!(
            "Package: linux-image-cloud-amd64\nVersion: 6.1.192-2\nStatus: install ok installed\n\n\
             Package: linux-image-cloud-amd64\nVersion: 6.1.192-2\n\
             Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\nSHA256: {SHA}\n\n"
        );
        let found = stanzas(&listed);
        assert_eq!(found.len(), 1, "{found:?}");
        let kernel = found[0].kernel.as_deref();
        assert_eq!(kernel, Some("linux-image-6.1.0-56-cloud-amd64"));
        let itself = listed.replace("linux-image-cloud", "linux-image-6.1.0-56-cloud");
        assert_eq!(stanzas(&itself)[0].kernel, None);
        assert!(stanzas(&listed.replace("SHA256", "MD5sum")).is_empty() && stanzas("").is_empty());
    }

    #[test]
    fn a_kernel_is_told_from_what_depends_on_it() {
        assert!(is_kernel("linux-image-6.1.0-56-cloud-amd64"));
        assert!(is_kernel("linux-image-6.12.117+deb12-cloud-amd64"));
        assert!(!is_kernel("linux-image-6.12-cloud-amd64"));
        assert!(!is_kernel("linux-image-cloud-amd64"));
        assert!(!is_kernel("busybox-static"));
    }

    fn package(name: &str, version: &str, sha256: Digest) -> Package {
        Package {
            name: name.into(),
            version: version.into(),
            sha256,
        }
    }

    /// A package that this system offers. None where it offers nothing.
    async fn offered(name: &str) -> Option<Package> {
        match candidates(&[name]).await {
            Ok(found) => found.into_iter().next().map(|stanza| stanza.package),
            Err(error) => {
                println!("SKIPPED: needs packages of Debian: {error}");
                assert!(error.is_of_the_machine(), "{error}");
                None
            }
        }
    }

    #[tokio::test]
    async fn a_lock_gives_its_packages_and_the_lists_are_not_asked() {
        let kernel = package("linux-image-0.0.1-cloud-amd64", "1", Digest::of(b"kernel"));
        let shell = package("no-such-package", "2", Digest::of(b"shell"));
        let lock = crate::manifest::example(vec![shell.clone(), kernel.clone()]);
        let chosen = choose("linux-image-cloud-amd64", &["no-such-package"], Some(&lock)).await;
        assert_eq!(chosen.expect("locked"), [kernel, shell]);
        let error = choose("linux-image-cloud-amd64", &["libc6"], Some(&lock)).await;
        let error = error.expect_err("missing").to_string();
        assert_eq!(error, "the lock has no package libc6");
    }

    /// What lies in the cache under a digest and is something else was cut short or changed: it is fetched anew.
    #[tokio::test]
    async fn what_is_kept_is_believed_only_by_its_digest() {
        let cache = tempfile::tempdir().expect("a folder");
        let sha256 = Digest::of(b"a package");
        let gone = package("busybox-static", "0-no-such-version", sha256);
        let kept = cache.path().join(format!("{sha256}.deb"));
        fs::write(&kept, b"a package").expect("written");
        let fetched = fetch(vec![gone.clone()], cache.path()).await.expect("kept");
        assert_eq!(fetched[0].bytes, b"a package");
        fs::write(&kept, b"a pack").expect("written");
        assert!(fetch(vec![gone], cache.path()).await.is_err());
    }

    #[tokio::test]
    async fn a_version_that_is_gone_is_told_with_the_one_that_there_is() {
        let cache = tempfile::tempdir().expect("a folder");
        let Some(now) = offered("busybox-static").await else {
            return;
        };
        let gone = package("busybox-static", "0-no-such-version", now.sha256);
        let error = fetch(vec![gone], cache.path())
            .await
            .expect_err("gone")
            .to_string();
        let (gone, now) = (
            "apt has no version 0-no-such-version of busybox-static",
            now.version,
        );
        assert_eq!(
            error,
            format!("{gone}, which the lock asks for; it has {now}")
        );
    }

    /// The same version with other bytes, as the lists say and as it arrives.
    #[tokio::test]
    async fn bytes_other_than_those_asked_for_are_refused() {
        let cache = tempfile::tempdir().expect("a folder");
        let Some(now) = offered("busybox-static").await else {
            return;
        };
        let other = package(&now.name, &now.version, Digest::of(b"another package"));
        let errors = [
            fetch(vec![other.clone()], cache.path())
                .await
                .expect_err("another"),
            download(&[&other], cache.path())
                .await
                .expect_err("another"),
        ];
        for error in errors.map(|error| error.to_string()) {
            let both = [other.sha256, now.sha256].map(|sha256| sha256.to_string());
            assert!(both.iter().all(|sha256| error.contains(sha256)), "{error}");
        }
        assert!(!place_of(&other, cache.path()).exists());
    }

    /// The machine's list of packages names some that others ask for again.
    #[tokio::test]
    async fn a_package_that_is_named_twice_is_fetched_once() {
        let cache = tempfile::tempdir().expect("a folder");
        let Some(now) = offered("libgcc-s1").await else {
            return;
        };
        let twice = ["libgcc-s1", "libgcc-s1"];
        let chosen = choose("libgcc-s1", &twice, None).await.expect("chosen");
        assert_eq!(chosen, std::slice::from_ref(&now));
        let lock = crate::manifest::example(vec![now.clone()]);
        let locked = distinct(vec![lock.packages[0].clone(), now.clone()]);
        assert_eq!(locked, chosen);
        let fetched = fetch(chosen, cache.path()).await.expect("fetched");
        assert_eq!(Digest::of(&fetched[0].bytes), now.sha256);
    }

    #[tokio::test]
    async fn a_package_that_nobody_has_is_named() {
        if offered("busybox-static").await.is_none() {
            return;
        }
        for names in [
            &["no-such-package-at-all"][..],
            &["busybox-static", "no-such-package-at-all"],
        ] {
            let error = candidates(names).await.expect_err("unknown");
            assert!(
                error
                    .to_string()
                    .contains("no package no-such-package-at-all"),
                "{error}"
            );
        }
    }
}
