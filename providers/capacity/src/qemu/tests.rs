//! Which machine an order gets on which host.

use easyenclave_schemas::wire::LaunchSpec;
use easyenclave_schemas::{OrderId, Secret};

use super::*;

const TDX_HOST: Abilities = Abilities {
    kvm: true,
    tdx: true,
};
const PLAIN_HOST: Abilities = Abilities {
    kvm: false,
    tdx: false,
};

fn machines(abilities: Abilities) -> Machines {
    let setup = Setup {
        program: "qemu".into(),
        image: Image {
            digest: Digest::of(b"image"),
            kernel: "/image/vmlinuz".into(),
            initramfs: "/image/initramfs.cpio".into(),
            command_line: "quiet".into(),
        },
        platform: "/nowhere".into(),
        firmware: "/firmware".into(),
        network: Network::User(Ipv4Addr::LOCALHOST),
    };
    Machines { setup, abilities }
}

fn request(tdx: TdxUse, simulated: bool) -> LaunchRequest {
    LaunchRequest {
        order: OrderId::new("a").expect("a name"),
        fence: 1,
        fleet: "demo".parse().expect("a name"),
        datacenter: "metal".parse().expect("a name"),
        worker: "worker-1".parse().expect("a name"),
        spec: LaunchSpec {
            node_size: "tiny".parse().expect("a name"),
            max_units: 1,
            reconciler_url: "http://127.0.0.1:9".into(),
            reconciler_key: "ab".repeat(32),
            machine: Some(Machine::Qemu(QemuMachine {
                vcpus: 1,
                memory_mib: 128,
                data_gib: 0,
                accelerator: Accelerator::Auto,
                tdx,
                image: None,
            })),
            simulated,
        },
        bootstrap_token: Secret::new("token".into()),
    }
}

#[test]
fn the_policys_root_decides_and_the_host_has_to_suit() {
    use TdxUse::{Auto, Never, Required};
    let made = |host, tdx, simulated| {
        let machines = machines(host);
        let request = request(tdx, simulated);
        let made = machines.machine(&request);
        made.map(|(_, tdx)| tdx).ok()
    };
    for (tdx, simulated, on_tdx, on_plain) in [
        (Auto, true, Some(false), Some(false)),
        (Auto, false, Some(true), None),
        (Required, true, None, None),
        (Required, false, Some(true), None),
        (Never, true, Some(false), Some(false)),
        (Never, false, None, None),
    ] {
        assert_eq!(
            made(TDX_HOST, tdx, simulated),
            on_tdx,
            "{tdx:?} {simulated}"
        );
        assert_eq!(
            made(PLAIN_HOST, tdx, simulated),
            on_plain,
            "{tdx:?} {simulated}"
        );
    }
}

#[test]
fn a_trust_domain_is_bound_to_the_very_bytes_that_it_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let machines = machines(TDX_HOST);
    let request = request(TdxUse::Auto, false);
    let arguments = machines.write(&request, folder.path()).expect("written");
    let config = fs::read(folder.path().join(CONFIG)).expect("a configuration");
    let read: AgentConfig = serde_json::from_slice(&config).expect("a configuration");
    assert_eq!(read.platform, PlatformConfig::Tdx { root: "/".into() });
    use base64::Engine;
    let id = base64::engine::general_purpose::STANDARD.encode(config_id(&config).as_bytes());
    let object = format!("\"mrconfigid\":\"{id}\"");
    let bound = |word: &OsString| word.to_string_lossy().contains(&object);
    assert!(arguments.iter().any(bound), "{arguments:?}");
    let accelerator = |by| machines.by_kvm(by);
    assert!(accelerator(Accelerator::Auto) && !accelerator(Accelerator::Tcg));
}

#[test]
fn a_platform_that_is_missing_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = machines(PLAIN_HOST).write(&request(TdxUse::Auto, true), folder.path());
    let error = error.expect_err("no platform").to_string();
    assert!(
        error.starts_with("the platform's files in /nowhere"),
        "{error}"
    );
}

#[test]
fn what_of_a_platform_cannot_be_given_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("pck.key"), "a key").expect("written");
    let names = || platform(folder.path()).map(|files| files.into_iter().map(|(name, _)| name));
    assert!(names().expect("given").eq(["pck.key"]));
    for wrong in ["under_score", &"n".repeat(31)] {
        let path = folder.path().join(wrong);
        fs::write(&path, "").expect("written");
        let error = platform(folder.path()).expect_err(wrong).to_string();
        assert!(
            error.contains(&format!("/{wrong}: expected at most 16")),
            "{error}"
        );
        fs::remove_file(path).expect("removed");
    }
    fs::create_dir(folder.path().join("folder")).expect("made");
    let error = platform(folder.path()).expect_err("a folder").to_string();
    assert!(error.contains("/folder: expected"), "{error}");
}

/// Two machines of one bridge never have one card's address, also when two fleets call them the same.
#[test]
fn a_machine_on_a_bridge_finds_its_address_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut machines = machines(PLAIN_HOST);
    machines.setup.platform = folder.path().join("platform");
    fs::create_dir(&machines.setup.platform).expect("made");
    machines.setup.network = Network::Bridge("br0".parse().expect("a name"));
    let cards = ["ab", "cd"].map(|key| {
        let mut request = request(TdxUse::Auto, true);
        request.spec.reconciler_key = key.repeat(32);
        request.spec.reconciler_url = "http://10.0.0.1:8080".into();
        let arguments = machines.write(&request, folder.path()).expect("written");
        let config = fs::read(folder.path().join(CONFIG)).expect("a configuration");
        let config: AgentConfig = serde_json::from_slice(&config).expect("a configuration");
        assert_eq!(config.reconciler_url, "http://10.0.0.1:8080");
        assert_eq!(config.address, None);
        assert_eq!(config.workload.expect("a port").address, None);
        let card = |word: &OsString| word.to_string_lossy().contains(",mac=02:");
        arguments.into_iter().find(card).expect("a card")
    });
    assert_ne!(cards[0], cards[1]);
    let mut request = request(TdxUse::Auto, true);
    request.spec.reconciler_url = "http://127.0.0.1:8080".into();
    let error = machines.refuse(&request).expect_err("out of reach");
    let ProvideError::NeedsPerson { source, .. } = error else {
        panic!("{error:?}")
    };
    assert!(source.to_string().contains("on a bridge"), "{source}");
}
