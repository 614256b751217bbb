//! The command line of a machine, as data: the same plan gives the same arguments, and nothing is looked up. Paths of
//! a unit's own files are relative, because QEMU is started in the unit's folder.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use easyenclave_schemas::evidence::MeasurementDigest;
use easyenclave_schemas::wire::CONFIG_ID;

use super::network::{AGENT, GUEST, Link, WORKLOAD};
use crate::log;

/// The control socket in a unit's folder. It is reached by this short name, because the path of a socket is short.
pub(super) const SOCKET: &str = "qmp.sock";
/// The agent's configuration in a unit's folder.
pub(super) const CONFIG: &str = "config.json";
/// The disk for data in a unit's folder.
pub(super) const DISK: &str = "data.raw";

/// What a machine's first program is given is named so, and its parts behind it.
const GIVEN: &str = "opt/easyenclave";

/// The longest command line of a kernel, in bytes: what is longer is cut without a word.
const LONGEST: usize = 2047;

/// From so much memory on, in MiB, a trust domain needs more room to share with its host than the kernel takes by
/// itself.
const LARGE: u32 = 64 * 1024;

/// How QEMU is started for one machine.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The machine's name.
    pub(super) name: &'a str,
    pub(super) vcpus: u32,
    /// In MiB.
    pub(super) memory: u32,
    /// Whether there is a disk for data.
    pub(super) disk: bool,
    pub(super) kind: Kind<'a>,
    /// What every quote of it says of its configuration.
    pub(super) config_id: MeasurementDigest,
    pub(super) kernel: &'a Path,
    pub(super) initramfs: &'a Path,
    pub(super) command_line: &'a str,
    pub(super) link: &'a Link,
}

/// What carries out the machine's instructions, and what it is given for its evidence.
#[derive(Debug)]
pub(super) enum Kind<'a> {
    /// A plain machine, whose evidence is that of a simulated platform: the platform's files, by name.
    Plain {
        kvm: bool,
        platform: &'a [(String, PathBuf)],
    },
    /// A trust domain.
    Tdx {
        /// Its firmware.
        firmware: &'a Path,
    },
}

/// The command line of the kernel is too long to be read whole.
#[derive(Debug, thiserror::Error)]
#[error("the kernel's command line has {0} bytes, and {LONGEST} are read")]
pub(super) struct TooLong(usize);

/// QEMU's arguments.
pub(super) fn arguments(plan: &Plan<'_>) -> Result<Vec<OsString>, TooLong> {
    let mut line = Line::default();
    line.add("-name", plan.name);
    for flag in ["-nodefaults", "-no-user-config", "-no-reboot"] {
        line.flag(flag);
    }
    line.add("-display", "none");
    processor(&mut line, plan);
    line.add("-smp", plan.vcpus.to_string());
    line.add("-m", format!("{}M", plan.memory));
    line.add("-kernel", plan.kernel);
    line.add("-initrd", plan.initramfs);
    line.add("-append", append(plan)?);
    line.add("-qmp", format!("unix:{SOCKET},server=on,wait=off"));
    let console = format!("file,id=console,path={},append=on", log::NAME);
    line.add("-chardev", console);
    line.add("-serial", "chardev:console");
    network(&mut line, plan.link);
    if plan.disk {
        line.add("-drive", format!("if=none,id=data,format=raw,file={DISK}"));
        line.add("-device", "virtio-blk-pci,drive=data");
    }
    given(&mut line, plan);
    Ok(line.0)
}

fn processor(line: &mut Line, plan: &Plan<'_>) {
    match &plan.kind {
        Kind::Plain { kvm, .. } => {
            let (accelerator, model) = match kvm {
                true => ("kvm", "host"),
                false => ("tcg,tb-size=64", "max"),
            };
            line.add("-machine", "q35");
            line.add("-accel", accelerator);
            line.add("-cpu", model);
        }
        Kind::Tdx { firmware } => {
            // The host's quote generation service is asked by vsock. As text, so that the order of the fields is one.
            let guest = format!(
                r#"{{"qom-type":"tdx-guest","id":"tdx0","mrconfigid":"{}","quote-generation-socket":{{"type":"vsock","cid":"2","port":"4050"}}}}"#,
                STANDARD.encode(plan.config_id.as_bytes())
            );
            line.add("-object", guest);
            let machine = "q35,kernel-irqchip=split,hpet=off,confidential-guest-support=tdx0";
            line.add("-machine", machine);
            line.add("-accel", "kvm");
            line.add("-cpu", "host");
            line.add("-bios", *firmware);
        }
    }
}

fn append(plan: &Plan<'_>) -> Result<String, TooLong> {
    let mut text = plan.command_line.to_owned();
    if matches!(plan.kind, Kind::Tdx { .. }) && plan.memory >= LARGE {
        text.push_str(" swiotlb=131072");
    }
    match text.len() <= LONGEST {
        true => Ok(text),
        false => Err(TooLong(text.len())),
    }
}

/// No machine starts from the network.
fn network(line: &mut Line, link: &Link) {
    let card = "virtio-net-pci,netdev=network,romfile=";
    match link {
        Link::User(address, ports) => {
            let forward =
                |outside, inside| format!("hostfwd=tcp:{address}:{outside}-{GUEST}:{inside}");
            let agent = forward(ports.agent, AGENT);
            let workload = forward(ports.workload, WORKLOAD);
            line.add("-netdev", format!("user,id=network,{agent},{workload}"));
            line.add("-device", card);
        }
        Link::Bridge(bridge, mac) => {
            let bridge = bridge.as_str();
            line.add("-netdev", format!("bridge,id=network,br={bridge}"));
            line.add("-device", format!("{card},mac={mac}"));
        }
    }
}

/// What the machine's first program reads: it is in no measurement, and the host sees it.
fn given(line: &mut Line, plan: &Plan<'_>) {
    line.add("-fw_cfg", format!("name={GIVEN}/config,file={CONFIG}"));
    let net = match plan.link {
        Link::User(..) => "user",
        Link::Bridge(..) => "dhcp",
    };
    line.add("-fw_cfg", format!("name={GIVEN}/net,string={net}"));
    if let Kind::Plain { platform, .. } = plan.kind {
        // A simulated platform says of the machine what hardware would.
        let id = plan.config_id;
        line.add(
            "-fw_cfg",
            format!("name={GIVEN}/platform/{CONFIG_ID},string={id}"),
        );
        for (name, file) in platform {
            let mut text = OsString::from(format!("name={GIVEN}/platform/{name},file="));
            text.push(whole(file.as_os_str()));
            line.add("-fw_cfg", text);
        }
    }
}

/// A value in a list of QEMU's, where a comma that is part of the value is written twice.
fn whole(value: &OsStr) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut bytes = Vec::new();
    for byte in value.as_bytes() {
        bytes.push(*byte);
        if *byte == b',' {
            bytes.push(b',');
        }
    }
    OsString::from_vec(bytes)
}

#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    fn flag(&mut self, flag: &str) {
        self.0.push(flag.into());
    }

    fn add(&mut self, flag: &str, value: impl AsRef<OsStr>) {
        self.flag(flag);
        self.0.push(value.as_ref().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use std::net::Ipv4Addr;

    use super::super::network::{Mac, Ports};
    use super::*;

    const USER: Link = Link::User(
        Ipv4Addr::LOCALHOST,
        Ports {
            agent: 40001,
            workload: 40002,
        },
    );

    fn plan(kind: Kind<'_>) -> Plan<'_> {
        Plan {
            name: "tiny-1",
            vcpus: 2,
            memory: 384,
            disk: false,
            kind,
            config_id: MeasurementDigest::new([7; 48]),
            kernel: Path::new("/image/vmlinuz"),
            initramfs: Path::new("/image/initramfs.cpio"),
            command_line: "console=ttyS0 quiet panic=-1 edd=off",
            link: &USER,
        }
    }

    /// One argument a line, values beside their flags.
    fn shown(plan: &Plan<'_>) -> String {
        let mut text = String::new();
        for word in arguments(plan).expect("short enough") {
            let word = word.to_str().expect("text");
            text.push_str(match (text.is_empty(), word.starts_with('-')) {
                (true, _) => "",
                (false, true) => "\n",
                (false, false) => " ",
            });
            text.push_str(word);
        }
        text + "\n"
    }

    #[test]
    fn a_plain_machine_without_kvm() {
        let platform = ["attestation.key", "pck.chain.pem", "pck.key"]
            .map(|name| (name.to_owned(), Path::new("/platform,1").join(name)));
        let platform = &platform;
        let plan = plan(Kind::Plain {
            kvm: false,
            platform,
        });
        expect_file!["../../tests/golden/plain-tcg.args"].assert_eq(&shown(&plan));
    }

    #[test]
    fn a_plain_machine_with_kvm_and_a_disk() {
        let platform = &[];
        let mut plan = plan(Kind::Plain {
            kvm: true,
            platform,
        });
        plan.disk = true;
        expect_file!["../../tests/golden/plain-kvm-disk.args"].assert_eq(&shown(&plan));
    }

    #[test]
    fn a_machine_on_a_bridge() {
        let platform = &[];
        let link = Link::Bridge("br0".parse().expect("a name"), Mac::new([1, 2, 3, 4, 0xff]));
        let mut plan = plan(Kind::Plain {
            kvm: true,
            platform,
        });
        plan.link = &link;
        expect_file!["../../tests/golden/plain-kvm-bridge.args"].assert_eq(&shown(&plan));
    }

    fn tdx() -> Kind<'static> {
        Kind::Tdx {
            firmware: Path::new("/usr/share/ovmf/OVMF.fd"),
        }
    }

    #[test]
    fn a_trust_domain() {
        expect_file!["../../tests/golden/tdx.args"].assert_eq(&shown(&plan(tdx())));
    }

    #[test]
    fn a_large_trust_domain_shares_more_with_its_host() {
        let mut plan = plan(tdx());
        (plan.vcpus, plan.memory) = (16, LARGE);
        expect_file!["../../tests/golden/tdx-64-gib.args"].assert_eq(&shown(&plan));
    }

    #[test]
    fn a_command_line_that_would_be_cut_is_refused() {
        let platform = &[];
        let mut plan = plan(Kind::Plain {
            kvm: false,
            platform,
        });
        let long = "x".repeat(LONGEST);
        plan.command_line = &long;
        assert!(arguments(&plan).is_ok());
        let long = "x".repeat(LONGEST + 1);
        plan.command_line = &long;
        let error = arguments(&plan).expect_err("too long").to_string();
        assert!(error.contains("has 2048 bytes"), "{error}");
    }
}
