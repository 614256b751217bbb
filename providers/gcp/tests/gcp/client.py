"""A life of a machine, told by Google's own client for Python. Prints what it sees; the test knows what that should be."""

import sys

from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1
from google.cloud.compute_v1.services.instances.transports import InstancesRestTransport
from google.cloud.compute_v1.services.zone_operations.transports import ZoneOperationsRestTransport

host, zone, project = sys.argv[1], "us-central1-a", "p"
plain = {"host": host, "url_scheme": "http", "credentials": AnonymousCredentials()}
instances = compute_v1.InstancesClient(transport=InstancesRestTransport(**plain))
operations = compute_v1.ZoneOperationsClient(transport=ZoneOperationsRestTransport(**plain))


def wanted(name, shape):
    return compute_v1.Instance(
        name=name,
        machine_type=f"zones/{zone}/machineTypes/{shape}",
        labels={"who": "python"},
        disks=[
            compute_v1.AttachedDisk(
                boot=True,
                auto_delete=True,
                initialize_params=compute_v1.AttachedDiskInitializeParams(
                    source_image="projects/p/global/images/i", disk_size_gb=80
                ),
            )
        ],
        network_interfaces=[compute_v1.NetworkInterface(network="global/networks/default")],
        scheduling=compute_v1.Scheduling(on_host_maintenance="TERMINATE"),
        confidential_instance_config=compute_v1.ConfidentialInstanceConfig(confidential_instance_type="TDX"),
    )


def ended(operation):
    for _ in range(20):
        if operation.status == compute_v1.Operation.Status.DONE:
            codes = [error.code for error in operation.error.errors]
            return "failed with " + ", ".join(codes) if codes else "done"
        operation = operations.wait(project=project, zone=zone, operation=operation.name)
    return "never over"


def insert(name, shape="c3-standard-4"):
    operation = instances.insert_unary(project=project, zone=zone, instance_resource=wanted(name, shape))
    return operation.status.name, ended(operation)


def scopes(**more):
    request = compute_v1.AggregatedListInstancesRequest(project=project, filter="labels.who=python", **more)
    pages = list(instances.aggregated_list(request=request).pages)
    names = [vm.name for page in pages for _, scope in page.items.items() for vm in scope.instances]
    unreachable = [place for page in pages for place in page.unreachables]
    return len(pages), sorted(names), unreachable


for name in ("one", "two"):
    print("insert", name, *insert(name))
print("pages", *scopes(max_results=1))
print("empty", *scopes())
vm = instances.get(project=project, zone=zone, instance="one")
print("get", vm.name, vm.status, vm.confidential_instance_config.confidential_instance_type)
print("by number", instances.get(project=project, zone=zone, instance=str(vm.id)).name)
output = instances.get_serial_port_output(project=project, zone=zone, instance="one")
print("serial", repr(output.contents), output.next)
try:
    insert("one")
except exceptions.Conflict as error:
    print("conflict", error.code)
try:
    instances.insert_unary(project=project, zone=zone, instance_resource=compute_v1.Instance(name="Not a name"))
except exceptions.BadRequest as error:
    print("invalid", error.code)
print("delete", ended(instances.delete_unary(project=project, zone=zone, instance="one")))
try:
    instances.get(project=project, zone=zone, instance="one")
except exceptions.NotFound as error:
    print("gone", error.code)
print("fails", *insert("three", "c3-standard-8"))
