//! `easyenclave image`: makes the image that machines boot, and writes what it measures as an entry of a policy.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use easyenclave_attestation::simulated::TdBody;
use easyenclave_image::{DEFAULT_KERNEL, Manifest, Spec, build};
use easyenclave_schemas::NodeSize;

use super::{Ended, exit, hint::Hints, out, shutdown};
use crate::reference::{Recorded, recorded};

/// What of an image.
#[derive(Debug, clap::Subcommand)]
pub(super) enum What {
    /// Make a kernel and one archive with everything else, from Debian's packages and our programs
    Build(Build),
    /// Show what machines of an image measure on a simulated platform, as an entry for a policy
    Measure(Measure),
}

#[derive(Debug, clap::Args)]
pub(super) struct Build {
    /// The folder of the image; one that is there is replaced
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The agent's program [default: easyenclave-agent beside this program]
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// This program is the agent, and the example workload with it: for trying things out, because it holds much that
    /// need not be trusted
    #[arg(long, conflicts_with = "agent")]
    one_binary: bool,
    /// A program that workloads may be; again for each [default: hello-tdx beside this program, if it is there]
    #[arg(long = "program", value_name = "FILE")]
    programs: Vec<PathBuf>,
    /// A package with a library that a program needs; again for each
    #[arg(long = "library", value_name = "PACKAGE")]
    libraries: Vec<String>,
    /// The kernel's package, or one that depends on the newest kernel
    #[arg(long, value_name = "PACKAGE", default_value = DEFAULT_KERNEL)]
    kernel: String,
    /// The image.json of another image, whose packages are used again
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    lock: Option<PathBuf>,
    /// Where packages are kept [default: image-cache beside --out]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Measure {
    /// The folder of the image
    #[arg(long, value_name = "DIR")]
    image: PathBuf,
    /// The size of the machines
    #[arg(long, value_name = "SIZE")]
    size: String,
}

pub(super) async fn run(what: What) -> Ended {
    match what {
        What::Build(args) => make(args).await?,
        What::Measure(args) => measure(&args)?,
    }
    Ok(exit::OK)
}

async fn make(args: Build) -> anyhow::Result<()> {
    let (out_folder, cache) = (args.out.clone(), args.cache.clone());
    let spec = spec(args)?;
    let manifest = made(&spec, &out_folder, cache).await?;
    let measure = format!("image measure --image {} --size SIZE", out_folder.display());
    out::tell(format_args!(
        "made {}; `{}` shows what a policy has to say of it",
        out_folder.display(),
        Hints::plain().line(&measure)
    ));
    Ok(out::answer(summary(&manifest))?)
}

/// Makes an image, unless the program is asked to end first.
pub(super) async fn made(
    spec: &Spec,
    folder: &Path,
    cache: Option<PathBuf>,
) -> anyhow::Result<Manifest> {
    let cache = cache.map_or_else(|| beside(folder), Ok)?;
    tokio::select! {
        made = build(spec, folder, &cache) => Ok(made?),
        // What was begun is removed on the way out.
        () = shutdown() => bail!("stopped: {} is as it was", folder.display()),
    }
}

/// Where packages are kept for an image. The folder may be called `.`, and what is beside it is to be found all the
/// same.
fn beside(folder: &Path) -> anyhow::Result<PathBuf> {
    let named = || format!("image folder {}", folder.display());
    let whole = match std::fs::canonicalize(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => std::path::absolute(folder),
        whole => whole,
    };
    let whole = whole.with_context(named)?;
    let above = whole.parent().with_context(named)?;
    Ok(above.join("image-cache"))
}

fn spec(args: Build) -> anyhow::Result<Spec> {
    let own = std::env::current_exe().context("finding this program")?;
    let beside = |name: &str| own.with_file_name(name);
    let mut spec = match (args.agent, args.one_binary) {
        (_, true) => Spec::one_binary(own.clone()),
        (Some(named), false) => Spec::small(named),
        (None, false) => Spec::small(small_agent(&beside("easyenclave-agent"))?),
    };
    let hello = beside("hello-tdx");
    spec.programs = args.programs;
    if spec.programs.is_empty() && !args.one_binary && hello.exists() {
        spec.programs.push(hello);
    }
    spec.libraries.extend(args.libraries);
    spec.kernel = args.kernel;
    spec.lock = args.lock.as_deref().map(Manifest::load).transpose()?;
    Ok(spec)
}

/// The agent's own program, which is what an image for real hardware holds (decision 0003).
fn small_agent(path: &Path) -> anyhow::Result<PathBuf> {
    if !path.exists() {
        bail!(
            "there is no {}: `cargo build --release -p easyenclave-agent -p hello-tdx` makes it, --agent names another, \
             and --one-binary takes this program",
            path.display()
        );
    }
    Ok(path.to_path_buf())
}

fn summary(manifest: &Manifest) -> String {
    let size = |bytes: u64| format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10);
    let mut text = format!("image      {}\n", manifest.digest());
    for (what, part) in [
        ("kernel", &manifest.kernel),
        ("archive", &manifest.initramfs),
    ] {
        text += &format!("{what:<10} {} {}\n", part.sha256, size(part.bytes));
    }
    for program in &manifest.programs {
        text += &format!("program    {} {}\n", program.sha256, program.name);
    }
    for package in &manifest.packages {
        text += &format!("package    {} {}\n", package.name, package.version);
    }
    text
}

fn measure(args: &Measure) -> anyhow::Result<()> {
    let manifest = Manifest::open(&args.image)?;
    let size = NodeSize::new(args.size.clone()).context("--size")?;
    out::answer(entry(&manifest, &size))?;
    Ok(())
}

/// What a simulated platform says of the image. No hardware measures it: for that, boot one and use `measure`.
pub(super) fn entry(manifest: &Manifest, size: &NodeSize) -> String {
    let body = TdBody::of_image(&manifest.label(size));
    recorded(&Recorded {
        name: &format!("image {} on {size}", manifest.digest().short(12)),
        size,
        mrtd: body.mrtd,
        rtmrs: &body.rtmrs,
        provenance: &format!(
            "recorded from the build of image {}: what a simulated platform says, not what hardware has measured",
            manifest.digest()
        ),
    })
}
