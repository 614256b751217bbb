//! What machines need of the host, and the one image that all of these tests start them from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use easyenclave_image::{Manifest, Spec, build};
use easyenclave_schemas::Digest;
use easyenclave_tests::{packages_given, program_given};

use crate::harness::{Fleet, PROGRAM};

/// Two cores boot one fleet at a time.
static TURN: Mutex<()> = Mutex::new(());

/// A host that can make machines, for as long as this is held.
pub(crate) struct Ground {
    pub(crate) image: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Ground {
    /// None where this host cannot, which is said.
    pub(crate) fn take() -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        program_given(
            "qemu-system-x86_64",
            "Debian: apt-get install qemu-system-x86",
        )?;
        let image = image()?;
        Some(Self { image, _turn: turn })
    }

    /// The image's folder, as an argument.
    pub(crate) fn image(&self) -> &str {
        self.image.to_str().expect("UTF-8")
    }

    /// What the image measures, as an entry of a policy.
    fn measurement(&self, fleet: &Fleet) -> String {
        let measure = ["image", "measure", "--size", "tiny", "--image"];
        let output = fleet.run(&[&measure[..], &[self.image()]].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// A fleet of machines with so many replicas of `acme/hello`, for a reconciler and a worker of their own.
    pub(crate) fn fleet(&self, replicas: u32) -> Fleet {
        let mut fleet = Fleet::with(|root| {
            let mut files = machines(replicas, Some(root));
            let paced = text(&files, "fleet.yaml")
                .replace("signers: []", "signers: []\n    pushesPerMinute: 600");
            files.insert("fleet.yaml".into(), paced.into());
            files
        });
        let policy = "policies/simulated.yaml";
        let entry = self.measurement(&fleet);
        let entry: String = entry.lines().map(|line| format!("\n    {line}")).collect();
        let named = fleet.file(policy).replace(" []", &entry);
        fleet.commit(policy, Some(&named));
        let arguments = ["--machines", "qemu", "--image", self.image()];
        fleet.worker_arguments = arguments.map(str::to_owned).to_vec();
        fleet
    }
}

/// The example of machines, with so many replicas.
pub(crate) fn machines(replicas: u32, root: Option<&str>) -> BTreeMap<String, Vec<u8>> {
    let mut files = easyenclave::examples::machines(root);
    let hello = text(&files, HELLO).replace("replicas: 1", &format!("replicas: {replicas}"));
    files.insert(HELLO.into(), hello.into());
    files
}

/// The deployment of the example.
pub(crate) const HELLO: &str = "deployments/acme/hello.yaml";

fn text(files: &BTreeMap<String, Vec<u8>>, path: &str) -> String {
    String::from_utf8(files[path].clone()).expect("UTF-8")
}

/// The orders that have a folder in a worker's folder.
pub(crate) fn folders(worker: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(worker.join("units"));
    let names = entries.into_iter().flatten().flatten();
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// An image of the very program under test, built once for all of its tests, and again only when the program is another
/// one. None where packages cannot be had.
fn image() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (image, cache) = (folder.join("machines"), folder.join("image-cache"));
    let program = Digest::of(&std::fs::read(PROGRAM).expect("the program under test"));
    let built = Manifest::open(&image).is_ok_and(|there| there.programs[0].given == Some(program));
    if built {
        return Some(image);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(build(&Spec::one_binary(PROGRAM.into()), &image, &cache)) {
        Ok(_) => Some(image),
        Err(error) if error.is_of_the_machine() => packages_given(Err(error)),
        Err(error) => panic!("{error}"),
    }
}
