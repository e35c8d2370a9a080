//! The command from end to end over the plain servers; ours are built and tried by `.ci/long --smoke`.
use std::{fs, process::Command};

use bench::report::Run;

fn bench() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bench"))
}

#[test]
fn every_plain_server_has_a_figure_under_every_workload() {
    let folder = std::env::temp_dir().join(format!("sotong-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("bench.json");
    let mut command = bench();
    command.args(["--smoke", "--no-build", "--servers", "plain", "--json"]).arg(&path);
    let output = command.output().unwrap();
    let run = Run::read(&path);
    fs::remove_dir_all(&folder).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    let run = run.unwrap();
    let left_out = run.skips.iter().filter(|skip| skip.workload.is_none()).count();
    assert!(run.skips.iter().all(|skip| skip.server == "plain-uring"), "only a kernel may refuse: {:?}", run.skips);
    assert_eq!(run.cells.0.len(), (5 - left_out) * 10);
}

#[test]
fn a_name_that_is_unknown_is_told_with_those_that_are_known() {
    let output = bench().args(["--servers", "plain-pool"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("plain-tokio-multi, plain-tokio-current"), "{said}");
    let output = bench().args(["--only", "9000"]).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("8000"));
}
