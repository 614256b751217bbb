//! `easyenclave init`: a new, valid state repository.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use easyenclave_git::Signers;
use easyenclave_schemas::evidence::RootKeyId;

use super::hint::{Hints, quoted};
use super::{Ended, edit, exit, out};
use crate::clock::{Clock, System};
use crate::{examples, seal};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory to fill; it must be empty or not exist
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Key id of the simulated platform that agents attest on, 96 hex digits
    #[arg(long, value_name = "HEX")]
    simulated_root: Option<String>,
    /// Public key that signs status commits, as in `authorized_keys`: `ssh-ed25519 AAAA…`
    #[arg(long, value_name = "KEY")]
    signer: Option<String>,
    /// To whom secrets are sealed, as `easyenclave secret recipient` prints it: `age1…`
    #[arg(long, value_name = "KEY")]
    recipient: Option<String>,
}

pub(super) fn run(args: &Args) -> Ended {
    let dir = &args.dir;
    if dir
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some())
    {
        bail!("{} is not empty", dir.display());
    }
    if let Some(root) = &args.simulated_root {
        let root = root.parse::<RootKeyId>();
        root.context("--simulated-root is the key id of a simulated platform")?;
    }
    let mut files = examples::files(args.simulated_root.as_deref());
    if let Some(signer) = &args.signer {
        Signers::parse([signer.as_str()]).context("--signer is a public key")?;
        examples::name_signer(&mut files, signer.trim());
    }
    if let Some(recipient) = &args.recipient {
        seal::recipient(recipient)
            .context("--recipient is the public key of the fleet's secrets")?;
        examples::name_recipients(&mut files, std::slice::from_ref(recipient));
    }
    write(dir, &files).with_context(|| format!("writing {}", dir.display()))?;
    let (name, email) = edit::identity(dir);
    let author = (name.as_str(), email.as_str());
    let when = System.now().as_millis() / 1000;
    easyenclave_git::init_work_tree(dir, "main", &files, "state: start a fleet", author, when)?;
    let (hints, shown) = (Hints::plain(), quoted(&dir.display().to_string()));
    out::answer(format_args!("{}\n", dir.display()))?;
    out::tell(format_args!(
        "A state repository with {} files. Check it: {}",
        files.len(),
        hints.line(&format!("check {shown}"))
    ));
    if args.simulated_root.is_none() {
        out::tell(format_args!(
            "Its policy trusts no platform yet: put your root into policies/simulated.yaml, or start\n\
             with `{}`, which does.",
            hints.line(&format!("up {shown}"))
        ));
    }
    if args.signer.is_none() {
        out::tell(
            "It names nobody who may sign status yet, as `easyenclave verify` wants: put the key from the file\n\
             allowed_signers of the reconciler's data folder into spec.status.signers of fleet.yaml.",
        );
    }
    Ok(exit::OK)
}

fn write(dir: &std::path::Path, files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    for (path, bytes) in files {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, bytes)?;
    }
    Ok(())
}
