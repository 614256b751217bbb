//! What a machine is: the whole request for one, from the order alone. What the machine is given may be seen by anybody
//! who can list machines, so nothing in it is worth anything after the agent has joined.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use easyenclave_capacity::LaunchRequest;
use easyenclave_schemas::wire::{AgentConfig, GcpMachine, Machine, PlatformConfig, WorkloadPort};
use google_cloud_compute_v1::model::confidential_instance_config::ConfidentialInstanceType;
use google_cloud_compute_v1::model::{
    AccessConfig, AttachedDisk, AttachedDiskInitializeParams, ConfidentialInstanceConfig, Instance,
    Metadata, NetworkInterface, Scheduling, ServiceAccount, ShieldedInstanceConfig, Tags,
    access_config, attached_disk, metadata, network_interface, scheduling,
};

use crate::fault::Fault;
use crate::names::{Owner, region};

/// The metadata item with the agent's configuration.
pub const CONFIG: &str = "easyenclave-config";

/// The network tag of machines, for rules of firewalls.
pub const TAG: &str = "easyenclave";

/// Where agents listen inside their machines, and where their workloads are reached.
pub const PORTS: (u16, u16) = (8081, 8080);

/// Where a machine has what its agent writes.
const DATA: &str = "/var/lib/easyenclave";

/// What a machine may ask of Google that acts as an account: all that the account may.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The machine that an order asks for.
pub(crate) fn wanted<'a>(
    request: &'a LaunchRequest,
    owner: &Owner,
    project: &str,
) -> Result<&'a GcpMachine, Fault> {
    let refused = |why: String| Fault::person("the machine cannot be made here", why);
    let Some(Machine::Gcp(machine)) = &request.spec.machine else {
        return Err(refused("the order names no machine of Google Cloud".into()));
    };
    if request.fleet != owner.fleet {
        let (theirs, ours) = (&request.fleet, &owner.fleet);
        return Err(refused(format!(
            "the order is of fleet {theirs}, and this worker of {ours}"
        )));
    }
    if machine.project != project {
        let theirs = &machine.project;
        return Err(refused(format!(
            "the order is for project {theirs}, and this worker for {project}"
        )));
    }
    if request.spec.simulated {
        return Err(refused(
            "a simulated root trusts no machine of Google Cloud".into(),
        ));
    }
    if is_loopback(&request.spec.reconciler_url) {
        let url = &request.spec.reconciler_url;
        return Err(refused(format!(
            "no machine of Google Cloud reaches {url}; see serve --public-url"
        )));
    }
    Ok(machine)
}

/// Whether only this machine reaches an address.
fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let local = |address: IpAddr| address.is_loopback() || address.is_unspecified();
    host == "localhost" || host.parse().is_ok_and(local)
}

/// The request for a machine.
pub(crate) fn body(request: &LaunchRequest, machine: &GcpMachine, owner: &Owner) -> Instance {
    let name = owner.machine(&request.order);
    let zone = &machine.zone;
    let config = config(request);
    let config = serde_json::to_string(&config).expect("a configuration is plain data");
    let item = metadata::Items::new().set_key(CONFIG).set_value(config);
    let labels = owner.labels(&request.order, request.fence);
    let instance = Instance::new()
        .set_name(name)
        .set_machine_type(format!(
            "zones/{zone}/machineTypes/{}",
            machine.machine_type
        ))
        .set_confidential_instance_config(
            ConfidentialInstanceConfig::new()
                .set_confidential_instance_type(ConfidentialInstanceType::Tdx),
        )
        .set_scheduling(schedule(machine.preemptible))
        .set_disks([disk(machine, &labels)])
        .set_network_interfaces([network(machine)])
        .set_shielded_instance_config(
            ShieldedInstanceConfig::new()
                .set_enable_secure_boot(true)
                .set_enable_vtpm(true)
                .set_enable_integrity_monitoring(true),
        )
        .set_metadata(Metadata::new().set_items([item]))
        .set_labels(labels)
        .set_tags(Tags::new().set_items([TAG]))
        .set_deletion_protection(false);
    match &machine.service_account {
        None => instance,
        Some(email) => instance
            .set_service_accounts([ServiceAccount::new().set_email(email).set_scopes([SCOPE])]),
    }
}

/// A trust domain cannot be moved while it runs, and one that was started again would have used its token up. One that is
/// taken away stays until it is removed, so that it is seen.
fn schedule(preemptible: bool) -> Scheduling {
    let fixed = Scheduling::new()
        .set_on_host_maintenance(scheduling::OnHostMaintenance::Terminate)
        .set_automatic_restart(false);
    match preemptible {
        false => fixed.set_provisioning_model(scheduling::ProvisioningModel::Standard),
        true => fixed
            .set_provisioning_model(scheduling::ProvisioningModel::Spot)
            .set_instance_termination_action(scheduling::InstanceTerminationAction::Stop),
    }
}

/// With the machine's labels: one that is left behind can be told to be ours.
fn disk(machine: &GcpMachine, labels: &[(&'static str, String)]) -> AttachedDisk {
    AttachedDisk::new()
        .set_boot(true)
        .set_auto_delete(true)
        .set_type(attached_disk::Type::Persistent)
        .set_interface(attached_disk::Interface::Nvme)
        .set_initialize_params(
            AttachedDiskInitializeParams::new()
                .set_source_image(&machine.image)
                .set_disk_size_gb(machine.disk_gib)
                .set_labels(labels.iter().cloned()),
        )
}

fn network(machine: &GcpMachine) -> NetworkInterface {
    let project = &machine.project;
    let network = NetworkInterface::new()
        .set_network(format!(
            "projects/{project}/global/networks/{}",
            machine.network
        ))
        .set_nic_type(network_interface::NicType::Gvnic);
    let network = match &machine.subnetwork {
        None => network,
        Some(subnetwork) => {
            let region = region(machine.zone.as_str());
            network.set_subnetwork(format!(
                "projects/{project}/regions/{region}/subnetworks/{subnetwork}"
            ))
        }
    };
    match machine.external_address {
        false => network,
        true => network.set_access_configs([AccessConfig::new()
            .set_name("External NAT")
            .set_type(access_config::Type::OneToOneNat)]),
    }
}

/// The agent finds by itself where it is reached: its machine gets an address only when it is there.
fn config(request: &LaunchRequest) -> AgentConfig {
    let listen = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let (agent, workload) = PORTS;
    AgentConfig {
        fleet_id: request.fleet.clone(),
        order_id: request.order.clone(),
        bootstrap_token: request.bootstrap_token.clone(),
        reconciler_url: request.spec.reconciler_url.clone(),
        reconciler_key: request.spec.reconciler_key.clone(),
        datacenter: request.datacenter.clone(),
        node_size: request.spec.node_size.clone(),
        platform: PlatformConfig::Tdx { root: "/".into() },
        // A key of its own would be in the machine's metadata, which may hold no secret.
        trust_authority: None,
        data_dir: DATA.into(),
        worker_id: request.worker.clone(),
        listen: Some(listen(agent)),
        address: None,
        workload: Some(WorkloadPort {
            listen: listen(workload),
            address: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_the_loopback_is_out_of_reach() {
        for url in [
            "http://127.0.0.1:8080",
            "https://localhost/",
            "http://[::1]:8080",
            "http://0.0.0.0",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "https://localhost.example.org",
            "http://127.example.org",
            "http://10.0.0.1:8080",
            "http://[fd00::1]/",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
