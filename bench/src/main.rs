//! Measures every I/O model beside plain servers: `cargo run --release -p bench`, with `--help` for less of it.
use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bench::{
    cell::Bench,
    chat,
    load::raise_descriptors,
    report::{self, Lang, Run},
    run::{self, Outcome, Plan},
    server::{Cores, Server},
    target::{PEER_WORKLOADS, check_peers},
    workload::{Scale, Workload},
};
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};

const SMOKE_SECONDS: f64 = 0.1;
/// Exit code after Ctrl-C.
const INTERRUPTED: u8 = 130;
/// Pages with the table of rates alone, and READMEs, by their paths from the root of the repository.
const PAGES: [(&str, Lang); 2] = [("docs/en/models.md", Lang::En), ("docs/ko/models.md", Lang::Ko)];
const CHAT_PAGES: [(&str, Lang); 4] =
    [("README.md", Lang::En), ("README.ko.md", Lang::Ko), ("docs/en/chat.md", Lang::En), ("docs/ko/chat.md", Lang::Ko)];
const READMES: [(&str, Lang); 2] = [("README.md", Lang::En), ("README.ko.md", Lang::Ko)];

/// Measure Sotong's I/O models beside plain servers, interleaved, server on one core and load on another, by messages for
/// each second of server CPU. Builds what it needs, stays on loopback, and ends what it starts.
#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// How often everything is measured; medians of fewer than 5 say little
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Length of each window [default: 2, with --smoke 0.1]
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<f64>,
    /// Only these workloads: 1, 50, 1000, 8000, pipelined, 16KiB, connect-close, udp, idle, hog
    #[arg(long, value_name = "WORKLOADS", value_delimiter = ',')]
    only: Vec<Workload>,
    /// Only these servers, by the names in the tables; plain and ours stand for all of a kind
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    servers: Vec<String>,
    /// One tiny round: whether every cell has a figure and all bytes come back right, not how fast
    #[arg(long, conflicts_with_all = ["rounds", "check_peers", "write_readme"])]
    smoke: bool,
    /// Only the plain servers, beside the ratios expected of them; fails if one is off by more than 0.1
    #[arg(long, conflicts_with_all = ["servers", "only"])]
    check_peers: bool,
    /// Write all rounds here [default: bench.json beside the programs]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure nothing; make the tables from such a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["smoke", "rounds", "seconds", "only", "servers", "json"])]
    from: Option<PathBuf>,
    /// Put the tables into README.md, README.ko.md and the pages about the models
    #[arg(long)]
    write_readme: bool,
    /// Take the programs as they stand beside this one
    #[arg(long)]
    no_build: bool,
}

/// What else is measured.
#[derive(Debug, clap::Subcommand)]
enum Other {
    Chat(ChatArgs),
}

/// Measure `sotong chat` beside a bare relay of lines, InspIRCd and ngIRCd, by CPU for each delivery
#[derive(Debug, clap::Args)]
struct ChatArgs {
    /// How often everything is measured; medians of fewer than 5 say little
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Length of each window [default: 2, with --smoke 0.1]
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<f64>,
    /// Only these workloads: fan-64, fan-1, rooms, visits, joins, idle
    #[arg(long, value_name = "WORKLOADS", value_delimiter = ',')]
    only: Vec<chat::Workload>,
    /// Only these servers: relay, uring, epoll, InspIRCd, ngIRCd
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = chat_server)]
    servers: Vec<chat::Server>,
    /// One tiny round with 40 clients: whether everything is told, not how fast
    #[arg(long, conflicts_with_all = ["rounds", "write_pages"])]
    smoke: bool,
    /// Write all rounds here [default: bench-chat.json beside the programs]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure nothing; make the table from such a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["smoke", "rounds", "seconds", "only", "servers", "json"])]
    from: Option<PathBuf>,
    /// Put the table into README.md, README.ko.md and the pages about the chat
    #[arg(long, visible_alias = "write-readme")]
    write_pages: bool,
    /// Take the programs as they stand beside this one
    #[arg(long)]
    no_build: bool,
}

fn chat_server(name: &str) -> Result<chat::Server, String> {
    chat::Server::named(name).ok_or_else(|| "relay, uring, epoll, InspIRCd or ngIRCd".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("from 0.01 to 600 seconds".to_owned()),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.other {
        Some(Other::Chat(chat)) => bench_chat(chat),
        None => bench(&args),
    };
    match done {
        Ok(code) => code,
        Err(fault) => {
            eprintln!("bench: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn bench(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let outcome = match &args.from {
        Some(path) => Outcome { run: Run::read(path)?, failures: Vec::new(), interrupted: false },
        None => measure(args)?,
    };
    let Outcome { run, failures, interrupted } = outcome;
    if args.smoke {
        println!("{} cells, every byte right", run.cells.0.len());
    } else {
        if !args.check_peers {
            println!("{}", report::markdown(&run, Lang::En));
        }
        if !check_peers(&run.cells).is_empty() {
            println!(
                "Plain servers as ratios to plain-uring (in brackets what is expected; ! is off by more than 0.1):\n"
            );
            println!("{}", report::peers(&run.cells));
        }
    }
    for failure in &failures {
        println!("no figure: {failure}");
    }
    if interrupted {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if args.write_readme {
        write_readmes(&run)?;
    }
    let are_off = args.check_peers && !check_peers(&run.cells).iter().all(bench::target::PeerCheck::is_right);
    let is_empty = run.cells.0.is_empty();
    Ok(if failures.is_empty() && !are_off && !is_empty { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(args: &Args) -> Result<Outcome, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let folder = program.parent().ok_or("this program stands in no folder")?;
    let plan = plan(args)?;
    if !args.no_build {
        build(folder)?;
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let descriptors = raise_descriptors()?;
    let cores = Cores::pick()?;
    if cores.server == cores.load {
        eprintln!("there is one core only: the load takes time from the servers");
    }
    eprintln!("servers on core {}, load on core {}, {descriptors} descriptors", cores.server, cores.load);
    let scale = if args.smoke { Scale::Smoke } else { Scale::Full };
    let default = if args.smoke { SMOKE_SECONDS } else { 2.0 };
    let length = Duration::from_secs_f64(args.seconds.unwrap_or(default));
    let bench = Bench { folder, cores, scale, length, interrupted: &interrupted };
    let outcome = run::run(&bench, &plan, |line| eprintln!("{line}"))?;
    let path = args.json.clone().unwrap_or_else(|| folder.join("bench.json"));
    fs::write(&path, serde_json::to_string(&outcome.run.to_json())?)?;
    eprintln!("all rounds are in {}", path.display());
    Ok(outcome)
}

fn bench_chat(args: &ChatArgs) -> Result<ExitCode, Box<dyn Error>> {
    let outcome = match &args.from {
        Some(path) => chat::Outcome { run: chat::Run::read(path)?, failures: Vec::new() },
        None => measure_chat(args)?,
    };
    let chat::Outcome { run, failures } = outcome;
    if args.smoke {
        println!("{} cells, nothing lost, doubled or out of order", run.cells.len());
    } else {
        println!("{}", chat::markdown(&run, Lang::En));
    }
    for failure in &failures {
        println!("no figure: {failure}");
    }
    if args.write_pages {
        for (name, lang) in CHAT_PAGES {
            let path = root().join(name);
            let text = report::embed_as("bench-chat", &fs::read_to_string(&path)?, &chat::markdown(&run, lang));
            fs::write(path, text.map_err(|fault| format!("{name}: {fault}"))?)?;
            eprintln!("the table stands in {name}");
        }
    }
    Ok(if failures.is_empty() && !run.cells.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure_chat(args: &ChatArgs) -> Result<chat::Outcome, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let folder = program.parent().ok_or("this program stands in no folder")?;
    if !args.no_build {
        build(folder)?;
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let descriptors = raise_descriptors()?;
    let cores = Cores::pick()?;
    eprintln!("servers on core {}, load on core {}, {descriptors} descriptors", cores.server, cores.load);
    let default = if args.smoke { SMOKE_SECONDS } else { 2.0 };
    let plan = chat::Plan {
        folder,
        cores,
        scale: if args.smoke { Scale::Smoke } else { Scale::Full },
        length: Duration::from_secs_f64(args.seconds.unwrap_or(default)),
        rounds: if args.smoke { 1 } else { usize::from(args.rounds) },
        servers: if args.servers.is_empty() { chat::Server::ALL.to_vec() } else { args.servers.clone() },
        workloads: if args.only.is_empty() { chat::Workload::ALL.to_vec() } else { args.only.clone() },
        interrupted: &interrupted,
    };
    let outcome = chat::run(&plan, |line| eprintln!("{line}"))?;
    let path = args.json.clone().unwrap_or_else(|| folder.join("bench-chat.json"));
    fs::write(&path, serde_json::to_string(&outcome.run.to_json())?)?;
    eprintln!("all rounds are in {}", path.display());
    Ok(outcome)
}

fn plan(args: &Args) -> Result<Plan, Box<dyn Error>> {
    let rounds = if args.smoke { 1 } else { usize::from(args.rounds) };
    let is_plain = |server: &Server| matches!(server, Server::Plain(_));
    let mut servers = Server::all();
    let mut workloads = if args.only.is_empty() { Workload::ALL.to_vec() } else { args.only.clone() };
    if args.check_peers {
        servers.retain(is_plain);
        workloads = PEER_WORKLOADS.to_vec();
    }
    if !args.servers.is_empty() {
        let fits = |server: &Server, name: &str| match name {
            "plain" => is_plain(server),
            "ours" => !is_plain(server),
            name => server.name() == name,
        };
        if let Some(name) = args.servers.iter().find(|name| !servers.iter().any(|server| fits(server, name))) {
            let names: Vec<_> = servers.iter().map(Server::name).collect();
            return Err(format!("there is no server {name:?}: there are {}", names.join(", ")).into());
        }
        servers.retain(|server| args.servers.iter().any(|name| fits(server, name)));
    }
    Ok(Plan { rounds, servers, workloads })
}

/// Builds the servers, by the profile that this program was built by.
fn build(folder: &Path) -> Result<(), Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "--bins", "-p", "sotong", "-p", "bench"]).current_dir(root());
    if folder.file_name().is_some_and(|name| name == "release") {
        command.arg("--release");
    } else {
        eprintln!("without --release the figures say nothing");
    }
    if !command.status()?.success() {
        return Err("the servers cannot be built".into());
    }
    Ok(())
}

fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

fn write_readmes(run: &Run) -> Result<(), Box<dyn Error>> {
    let readmes = READMES.map(|(name, lang)| (name, report::markdown(run, lang)));
    let pages = PAGES.map(|(name, lang)| (name, report::rates(&run.cells, lang)));
    for (name, tables) in readmes.into_iter().chain(pages) {
        let path = root().join(name);
        let text = fs::read_to_string(&path)?;
        let text = report::embed(&text, &tables).map_err(|fault| format!("{name}: {fault}"))?;
        fs::write(path, text)?;
        eprintln!("the tables stand in {name}");
    }
    Ok(())
}
