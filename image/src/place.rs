//! Puts an image where it was asked for: whole or not at all, also where another one is.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::manifest::Parts;
use crate::{ImageError, Manifest};

/// Writes an image beside the folder and puts it there in one step. Whoever opens the folder has the old image or the
/// new one; an old one is gone afterwards.
///
/// # Errors
/// When it cannot be written, or the folder holds anything but an image.
pub(crate) fn place(parts: &Parts, manifest: &Manifest, out: &Path) -> Result<(), ImageError> {
    let out = std::path::absolute(out).map_err(ImageError::file(out))?;
    refuse_strangers(&out)?;
    let beside = out.parent().unwrap_or(&out);
    fs::create_dir_all(beside).map_err(ImageError::file(beside))?;
    let draft = tempfile::tempdir_in(beside).map_err(ImageError::file(beside))?;
    let image = draft.path().join("image");
    fs::create_dir(&image).map_err(ImageError::file(&image))?;
    let write = |path: PathBuf, bytes: &[u8]| put(&path, bytes).map_err(ImageError::file(&path));
    write(manifest.kernel_in(&image), &parts.kernel)?;
    write(manifest.initramfs_in(&image), &parts.initramfs)?;
    write(image.join(Manifest::FILE), manifest.text().as_bytes())?;
    sync(&image).map_err(ImageError::file(&image))?;
    exchange(&image, &out).map_err(ImageError::file(&out))?;
    sync(beside).map_err(ImageError::file(beside))
}

/// Has the disk confirm the names in a folder.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn exchange(image: &Path, out: &Path) -> io::Result<()> {
    if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none()) {
        return fill(image, out);
    }
    match renameat_with(CWD, image, CWD, out, RenameFlags::EXCHANGE) {
        Err(rustix::io::Errno::NOENT) => fs::rename(image, out),
        exchanged => Ok(exchanged?),
    }
}

/// An empty folder stays the one that it is, because whoever asks for `.` is in it. What says that there is an image
/// comes last.
fn fill(image: &Path, out: &Path) -> io::Result<()> {
    let mut names: Vec<_> = fs::read_dir(image)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<_>>()?;
    names.sort_by_key(|name| name == Manifest::FILE);
    for name in names {
        fs::rename(image.join(&name), out.join(&name))?;
    }
    sync(out)
}

/// Whether a folder may be replaced: there is none, nothing is in it, or an image's own files and nothing else.
///
/// # Errors
/// When something of somebody else would be lost, or the folder cannot be read.
pub(crate) fn refuse_strangers(out: &Path) -> Result<(), ImageError> {
    let entries = match fs::read_dir(out) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(ImageError::file(out))?,
    };
    let entries: io::Result<Vec<_>> = entries.collect();
    let entries = entries.map_err(ImageError::file(out))?;
    if entries.is_empty() {
        return Ok(());
    }
    let occupied = || ImageError::Occupied(out.to_path_buf());
    let manifest = Manifest::load(&out.join(Manifest::FILE)).map_err(|_| occupied())?;
    let own = [
        Manifest::FILE,
        &manifest.kernel.file,
        &manifest.initramfs.file,
    ];
    let is_own = |entry: &fs::DirEntry| {
        let file = entry.file_type().is_ok_and(|kind| kind.is_file());
        file && own.iter().any(|name| entry.file_name() == *name)
    };
    match entries.iter().all(is_own) {
        true => Ok(()),
        false => Err(occupied()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(kernel: &[u8]) -> Parts {
        Parts {
            kernel: kernel.to_vec(),
            initramfs: b"archive".to_vec(),
            agent: Vec::new(),
            programs: Vec::new(),
            packages: Vec::new(),
            strip: None,
        }
    }

    fn put_image(kernel: &[u8], out: &Path) -> Result<Manifest, ImageError> {
        let parts = parts(kernel);
        let manifest = Manifest::of(&parts);
        place(&parts, &manifest, out).map(|()| manifest)
    }

    #[test]
    fn an_image_takes_the_place_of_another_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let out = dir.path().join("images/one");
        put_image(b"old", &out).expect("put");
        let new = put_image(b"new", &out).expect("put");
        assert_eq!(Manifest::open(&out).expect("whole"), new);
        let beside = fs::read_dir(dir.path().join("images"))
            .expect("there")
            .count();
        assert_eq!(beside, 1, "a draft or the old image is left");
    }

    #[test]
    fn an_empty_folder_is_filled_and_stays_the_one_that_it_is() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().expect("a folder");
        let out = dir.path().join("out");
        fs::create_dir(&out).expect("made");
        let before = fs::metadata(&out).expect("there").ino();
        let new = put_image(b"new", &out).expect("put");
        assert_eq!(Manifest::open(&out).expect("whole"), new);
        assert_eq!(fs::metadata(&out).expect("there").ino(), before);
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 1);
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("thesis.txt"), "dear").expect("written");
        let error = put_image(b"new", dir.path()).expect_err("occupied");
        assert!(matches!(error, ImageError::Occupied(_)), "{error}");
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 1);
    }

    /// Each is something that is not ours: what only calls itself an image, and what lies beside a real one.
    #[test]
    fn a_folder_with_more_than_an_image_is_left_alone() {
        let cases: [(bool, &str); 4] = [
            (false, "image.json"),
            (true, "notes.txt"),
            (true, "image-cache/libc6.deb"),
            (true, ".lock"),
        ];
        for (is_image, stranger) in cases {
            let dir = tempfile::tempdir().expect("a folder");
            let out = dir.path().join("out");
            if is_image {
                put_image(b"old", &out).expect("put");
            }
            let stranger = out.join(stranger);
            fs::create_dir_all(stranger.parent().expect("a folder")).expect("made");
            fs::write(&stranger, "{\"mine\": true}").expect("written");
            let error = put_image(b"new", &out).expect_err("occupied");
            assert!(matches!(error, ImageError::Occupied(_)), "{error}");
            assert!(stranger.exists(), "{} is gone", stranger.display());
        }
    }
}
