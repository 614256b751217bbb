//! A disk that takes nothing more: the reconciler ends with an error instead of serving for months without keeping
//! anything, and goes on where it was when it is started with room.

use crate::harness::{Fleet, deployment};

#[test]
fn a_reconciler_whose_disk_is_full_ends_and_goes_on_when_there_is_room() {
    let mut fleet = Fleet::started(1, 0);
    fleet.wait_running(1);
    fleet.kill_serve();
    fleet.start_serve_for_a_full_disk();
    fleet.until("it serves again", || {
        fleet.log("serve.log").matches("INFO serving").count() == 2
    });
    fleet.fill_disk();
    fleet.commit("deployments/acme/web.yaml", Some(&deployment("web", 3, "")));
    let ended = fleet.serve_ended();
    assert!(!ended.success(), "its supervisor starts it again");
    let log = fleet.log("serve.log");
    assert!(log.contains("the store cannot be written"), "{log}");
    fleet.start_serve();
    fleet.wait_running(3);
    fleet.stop();
}
