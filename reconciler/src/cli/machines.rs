//! The virtual machines of `up`: QEMU is looked for, an image is made where there is none, and what it measures is put
//! into the policies of the state that `up` makes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use easyenclave_capacity::Provider;
use easyenclave_capacity::qemu::{self, QemuProvider};
use easyenclave_capacity::worker::WorkerConfig;
use easyenclave_image::{Manifest, Spec};
use easyenclave_schemas::decode::decode;
use easyenclave_schemas::documents::Document;
use easyenclave_schemas::{NodeSize, PolicyName};

use super::style::{DIM, paint};
use super::{image, out, worker};
use crate::examples::NO_ROOT;
use crate::reference::{is_policy, widened};

/// The image that machines start from.
pub(super) struct Machines {
    folder: PathBuf,
    manifest: Manifest,
}

impl Machines {
    /// Looks for QEMU, and for the image in this folder; makes one of this very program when there is none.
    pub(super) async fn ready(folder: &Path) -> anyhow::Result<Self> {
        qemu::find(worker::QEMU.as_ref()).await?;
        let manifest = match folder.join(Manifest::FILE).exists() {
            true => Manifest::open(folder)?,
            false => make(folder).await?,
        };
        let folder = folder.to_path_buf();
        Ok(Self { folder, manifest })
    }

    /// What makes machines of it for this worker.
    pub(super) async fn provider(
        &self,
        config: &WorkerConfig,
    ) -> anyhow::Result<Arc<dyn Provider>> {
        let setup = worker::Virtual::of(&self.folder, &self.manifest).setup(&config.platform)?;
        Ok(Arc::new(QemuProvider::open(&config.data_dir, setup).await?))
    }

    /// Names the image in each policy that is to trust this installation's root, for the sizes of the targets under it.
    pub(super) fn name_in(&self, files: &mut BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
        let sizes = sizes(files);
        for (path, bytes) in files.iter_mut() {
            let Some(mut text) = trusting(bytes) else {
                continue;
            };
            let own = |(policy, _): &&(PolicyName, NodeSize)| is_policy(&text, policy);
            let own: Vec<_> = sizes.iter().filter(own).collect();
            for (_, size) in own {
                let entry = image::entry(&self.manifest, size);
                text = widened(&text, &entry).with_context(|| {
                    format!("{path} has no list `measurements` into which the image can be put")
                })?;
            }
            *bytes = text.into_bytes();
        }
        Ok(())
    }

    /// In words, for people.
    pub(super) fn shown(&self) -> String {
        let name = self.manifest.digest().short(12);
        format!("by QEMU, of image {name} in {}", self.folder.display())
    }
}

async fn make(folder: &Path) -> anyhow::Result<Manifest> {
    let own = std::env::current_exe().context("finding this program")?;
    out::tell(paint(
        DIM,
        format!(
            "making the machines' image in {} from Debian's packages and this program",
            folder.display()
        ),
    ));
    match image::made(&Spec::one_binary(own), folder, None).await {
        Err(error) => bail!(error.context("making the machines' image; --image takes another")),
        made => made,
    }
}

/// The text of a document that is to trust this installation's root.
fn trusting(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.contains(NO_ROOT).then(|| text.to_owned())
}

/// The sizes of agents by the policy that judges them, each once.
fn sizes(files: &BTreeMap<String, Vec<u8>>) -> Vec<(PolicyName, NodeSize)> {
    let documents = files.values().filter_map(|bytes| decode(bytes).ok());
    let mut sizes: Vec<_> = documents
        .filter_map(|located| match located.document {
            Document::CapacityTarget(target) => Some((target.spec.policy, target.spec.node_size)),
            _ => None,
        })
        .collect();
    sizes.sort();
    sizes.dedup();
    sizes
}
