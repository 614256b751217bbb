//! A reconciler with 10,000 agents: from its start to the first correct plan, heartbeats a second, and
//! memory. Run with `cargo bench -p easyenclave --bench fleet`.

mod heartbeats;
mod reconciler;
mod setup;

use std::path::Path;

use reconciler::Reconciler;

const AGENTS: u32 = 10_000;
const DEPLOYMENTS: u32 = 100;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "reconciler", dir, root, repository] => {
            reconciler::main(Path::new(dir), root, repository);
        }
        _ => measure(),
    }
}

fn measure() {
    let dir = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let setup = runtime.block_on(setup::prepare(dir.path()));
    let mut reconciler = Reconciler::start(dir.path(), &setup);
    let start = reconciler.answer();
    let [restart, actions, address] = &start[..] else {
        panic!("an unexpected answer: {start:?}");
    };
    let address = address.parse().expect("an address");
    let mut rate = |requests: Vec<Vec<u8>>| {
        let (count, before) = (requests.len() as f64, number(&reconciler.ask("time")));
        let answers = runtime.block_on(heartbeats::send_all(address, requests));
        (count / (number(&reconciler.ask("time")) - before), answers)
    };
    let (offers, requests) = heartbeats::first(&setup);
    let (first, answers) = rate(requests);
    let sessions = heartbeats::sessions(&setup, offers, &answers);
    let (rate, _) = rate(heartbeats::requests(&setup, &sessions));
    let ready = number(&reconciler.ask("settle"));
    let memory = reconciler.memory();
    let restart: f64 = restart.parse().expect("a number");
    println!("a reconciler with {AGENTS} agents and {DEPLOYMENTS} deployments");
    println!("  restart to first correct plan {restart:>9.2} s      bar: at most 5 s");
    println!("    actions in that plan        {actions:>9}        nothing was heard yet: none");
    println!("  heartbeats a second           {rate:>9.0}        bar: at least 10,000 on one core");
    println!("    that open a session         {first:>9.0} a second, after a restart");
    println!("  memory of the whole process   {memory:>9} MiB    bar: at most 150 MiB");
    println!("  replicas ready in the status  {ready:>9}        of {AGENTS}");
}

fn number(answer: &[String]) -> f64 {
    let word = answer.first().expect("an answer");
    word.parse().expect("a number")
}
