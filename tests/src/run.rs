//! Programs that run to their end, within a time.

use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The last lines of what a program said that are told when it fails.
const LINES: usize = 40;

/// Runs a program to its end, for as long as it may take. What it says is read while it runs: a pipe that is full would stop it.
///
/// # Errors
/// When it cannot be started, takes longer, or fails; with the end of what it said.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output, String> {
    let shown = format!("{:?}", command.get_program());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("{shown}: {error}"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let stdout = std::thread::spawn(move || read(out));
    let stderr = std::thread::spawn(move || read(err));
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if Instant::now() >= deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{shown} takes longer than {} s", limit.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let output = Output {
        status,
        stdout: stdout.join().expect("no panic"),
        stderr: stderr.join().expect("no panic"),
    };
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("{shown}: {}", last_words(&output))),
    }
}

fn read(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}

fn last_words(output: &Output) -> String {
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
    let said = said.concat();
    let lines: Vec<&str> = said.trim().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_program_says_does_not_stop_it_and_how_it_ends_is_told() {
        let limit = Duration::from_secs(60);
        let output = run(&mut sh("head -c 300000 /dev/zero"), limit).expect("it ends");
        assert_eq!(output.stdout.len(), 300_000);
        let failed = run(&mut sh("echo one; echo two >&2; exit 3"), limit);
        assert_eq!(failed.expect_err("it fails"), "\"sh\": one\ntwo");
        let late = run(&mut sh("exec sleep 60"), Duration::ZERO);
        assert_eq!(late.expect_err("too late"), "\"sh\" takes longer than 0 s");
    }
}
