//! The command line, defined once: help, errors, completions and man pages are made from these types.
//!
//! No text for people stands here. Each command and argument takes its words from the catalogue by its name; see
//! [`crate::help`]. Plain comments explain what a reader of the code needs.

pub(crate) mod cert;
mod connect_tls;
mod serve_tls;
pub(crate) mod ws;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::ArgPredicate;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use sotong_classics::room::RoomLimits;
use sotong_drivers::HoldLimits;
use sotong_session::{Limits, Marks};

pub(crate) use self::connect_tls::ConnectTls;
pub(crate) use self::serve_tls::{ServeTls, alpn};
pub(crate) use self::ws::{ConnectWs, ServeWs};
use crate::catalogue::Lang;
use crate::units::{Size, Span, network_name, room_name, server_name, some_time, whole};

#[derive(Debug, Parser)]
#[command(
    name = "sotong",
    version,
    arg_required_else_help = true,
    disable_help_flag = true,
    disable_help_subcommand = true,
    disable_version_flag = true,
    max_term_width = 100,
    subcommand_value_name = "COMMAND"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "common")]
    version: Option<bool>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    // Read before the rest is parsed, too: help and usage errors speak the language asked for.
    #[arg(long, global = true, value_enum, value_name = "LANG", help_heading = "common")]
    pub(crate) lang: Option<Lang>,
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "common")]
    pub(crate) verbose: u8,
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "common")]
    pub(crate) quiet: bool,
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "text", help_heading = "common")]
    pub(crate) log_format: LogFormat,
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto", help_heading = "common")]
    pub(crate) color: Color,
    #[arg(short, long, global = true, action = ArgAction::Help, help_heading = "common")]
    help: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(mut_args(|arg| default_address(arg, "127.0.0.1:12345")))]
    Echo(Serve),
    #[command(mut_args(|arg| default_address(arg, "127.0.0.1:10009")))]
    Discard(Serve),
    #[command(mut_args(|arg| default_address(arg, "127.0.0.1:10019")))]
    Chargen(Serve),
    #[command(mut_args(|arg| default_address(arg, "127.0.0.1:10013")))]
    Daytime(Serve),
    #[command(mut_args(|arg| default_address(arg, "127.0.0.1:10037")))]
    Time(Serve),
    #[command(mut_args(|arg| default_address(arg, "127.0.0.1:8888")))]
    Room(Room),
    #[command(mut_args(|arg| without_ws(address_beside_config(arg))))]
    Chat(Chat),
    #[command(mut_args(|arg| without_ws(default_address(arg, WEB_ADDRESS))))]
    Web(Web),
    Connect(Connect),
    Listen(Listen),
    Cert(cert::Cert),
    Models(Models),
    Completions(Completions),
    Man(Man),
    Help(Help),
}

/// Where `sotong chat` listens when neither an address is given nor a file.
pub(crate) const CHAT_ADDRESS: &str = "127.0.0.1:8888";

/// Where `sotong web` listens when no address is given; the folder alone may be.
pub(crate) const WEB_ADDRESS: &str = "127.0.0.1:8080";

// `mut_arg` would do, but moves the argument behind the options in help.
fn default_address(arg: clap::Arg, address: &'static str) -> clap::Arg {
    if arg.get_id() == "addresses" { arg.default_value(address) } else { arg }
}

// A file names its own addresses.
fn address_beside_config(arg: clap::Arg) -> clap::Arg {
    if arg.get_id() != "addresses" {
        return arg;
    }
    arg.default_value_if("config", ArgPredicate::IsPresent, None).default_value(CHAT_ADDRESS)
}

// A web server's files are no messages.
fn without_ws(arg: clap::Arg) -> clap::Arg {
    let is_ws = arg.get_id().as_str().starts_with("ws_");
    arg.hide(is_ws)
}

// What every server takes.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[arg(value_name = "ADDR", value_hint = ValueHint::Hostname)]
    pub(crate) addresses: Vec<String>,
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) model: Model,
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole::<u16>(1..=1024))]
    pub(crate) workers: u16,
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    pub(crate) idle: Option<Span>,
    #[arg(long = "keepalive", value_name = "TIME", default_value = "2m")]
    pub(crate) server_keepalive: Span,
    #[arg(long, value_name = "TIME", default_value = "1m", hide_short_help = true)]
    pub(crate) retire: Span,
    #[command(flatten)]
    pub(crate) tls: ServeTls,
    #[command(flatten)]
    pub(crate) ws: ServeWs,
    #[command(flatten)]
    pub(crate) hold: HoldFlags,
    #[command(flatten)]
    pub(crate) limits: LimitFlags,
}

#[derive(Debug, Args)]
pub(crate) struct Room {
    #[command(flatten)]
    pub(crate) serve: Serve,
    #[command(flatten)]
    limits: RoomLimitFlags,
}

impl Room {
    pub(crate) fn limits(&self) -> RoomLimits {
        let RoomLimitFlags { members_max, line_bytes_max, name_tries_max, name_time } = &self.limits;
        RoomLimits {
            members_max: *members_max,
            line_bytes_max: line_bytes_max.0,
            name_tries_max: *name_tries_max,
            name_time: name_time.0,
        }
    }
}

// The limits of `sotong_classics::room::RoomLimits`, by the same names.
#[derive(Debug, Args)]
#[command(next_help_heading = "limits")]
struct RoomLimitFlags {
    #[arg(long, value_name = "N", default_value_t = RoomLimits::default().members_max, value_parser = whole::<usize>(1..=1 << 20))]
    members_max: usize,
    #[arg(long, value_name = "BYTES", default_value_t = Size(RoomLimits::default().line_bytes_max))]
    line_bytes_max: Size,
    #[arg(long, value_name = "N", default_value_t = RoomLimits::default().name_tries_max, value_parser = whole::<u32>(1..=1000), hide_short_help = true)]
    name_tries_max: u32,
    #[arg(long, value_name = "TIME", default_value_t = Span(RoomLimits::default().name_time), hide_short_help = true)]
    name_time: Span,
}

#[derive(Debug, Args)]
pub(crate) struct Chat {
    #[command(flatten)]
    pub(crate) serve: Serve,
    #[command(flatten)]
    pub(crate) chat: ChatFlags,
}

#[derive(Debug, Args)]
pub(crate) struct ChatFlags {
    // What the file says is said there alone.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    #[arg(long, requires = "config")]
    pub(crate) check_config: bool,
    #[arg(long, conflicts_with = "config")]
    pub(crate) example_config: bool,
    #[arg(long)]
    pub(crate) hash_password: bool,
    #[arg(long, value_name = "NAME", default_value = "sotong.local", value_parser = server_name, conflicts_with = "config")]
    pub(crate) server_name: String,
    #[arg(long, value_name = "NAME", default_value = "Sotong", value_parser = network_name, conflicts_with = "config")]
    pub(crate) network: String,
    #[arg(long, value_name = "ROOM", default_value = "#lobby", value_parser = room_name, conflicts_with = "config")]
    pub(crate) lobby: String,
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "config")]
    pub(crate) motd: Option<PathBuf>,
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "config")]
    pub(crate) data_dir: Option<PathBuf>,
    #[arg(long)]
    pub(crate) tls: bool,
    #[arg(long, conflicts_with = "config")]
    pub(crate) no_flood_control: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Web {
    // Its addresses begin with the folder, if there is one.
    #[command(flatten)]
    pub(crate) serve: Serve,
    #[command(flatten)]
    pub(crate) site: WebFlags,
}

#[derive(Debug, Args)]
pub(crate) struct WebFlags {
    #[arg(long, value_name = "FILE", default_value = "index.html")]
    pub(crate) index: String,
    #[arg(long)]
    pub(crate) no_list: bool,
    #[arg(long)]
    pub(crate) hidden: bool,
    #[arg(long)]
    pub(crate) spa: bool,
    #[arg(long)]
    pub(crate) https: bool,
    #[arg(long)]
    pub(crate) upload: bool,
    #[arg(long, requires = "upload")]
    pub(crate) overwrite: bool,
    #[arg(long, value_name = "BYTES", default_value = "64MiB", requires = "upload")]
    pub(crate) upload_max: Size,
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) passwords: Option<PathBuf>,
    #[arg(long)]
    pub(crate) hash_password: bool,
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors: Option<String>,
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) access_log: Option<PathBuf>,
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "common", requires = "access_log")]
    pub(crate) access_format: AccessFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessFormat {
    Common,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Model {
    Auto,
    Sequential,
    Threads,
    Processes,
    Epoll,
    Async,
    Uring,
}

// The limits of `sotong_drivers::HoldLimits`, by the same names.
#[derive(Debug, Args)]
#[command(next_help_heading = "limits")]
pub(crate) struct HoldFlags {
    #[arg(long, value_name = "TIME", default_value_t = Span(HoldLimits::default().idle), hide_short_help = true)]
    hold_idle: Span,
    #[arg(long, value_name = "TIME", default_value_t = Span(HoldLimits::default().time), hide_short_help = true)]
    hold_time: Span,
}

impl HoldFlags {
    pub(crate) fn limits(&self) -> HoldLimits {
        HoldLimits { idle: self.hold_idle.0, time: self.hold_time.0 }
    }
}

// The limits of `sotong_session::Limits`, by the same names. The defaults are read from there, so that help tells what
// is in force.
#[derive(Debug, Args)]
#[command(next_help_heading = "limits")]
pub(crate) struct LimitFlags {
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=1 << 20))]
    pub(crate) max_conns: Option<u32>,
    #[arg(long, value_name = "BYTES", default_value_t = Size(Limits::default().marks.low), hide_short_help = true)]
    output_low: Size,
    #[arg(long, value_name = "BYTES", default_value_t = Size(Limits::default().marks.high), hide_short_help = true)]
    output_high: Size,
    #[arg(long, value_name = "BYTES", default_value_t = Size(Limits::default().marks.hard), hide_short_help = true)]
    output_hard: Size,
    #[arg(long, value_name = "BYTES", default_value_t = Size(Limits::default().untaken_bytes_max), hide_short_help = true)]
    untaken_bytes_max: Size,
    #[arg(long, value_name = "BYTES", default_value_t = Size(Limits::default().turn_bytes_max), hide_short_help = true)]
    turn_bytes_max: Size,
    #[arg(long, value_name = "TIME", default_value_t = Span(Limits::default().stall), hide_short_help = true)]
    stall: Span,
    #[arg(long, value_name = "TIME", default_value_t = Span(Limits::default().linger), hide_short_help = true)]
    linger: Span,
    #[arg(long, value_name = "BYTES", default_value_t = Size(Limits::default().linger_bytes_max), hide_short_help = true)]
    linger_bytes_max: Size,
    #[arg(long, value_name = "TIME", default_value_t = Span(Limits::default().drain))]
    drain: Span,
    #[arg(long, value_name = "N", default_value_t = Limits::default().udp_peers_max, value_parser = whole::<usize>(1..=1 << 20), hide_short_help = true)]
    udp_peers_max: usize,
    #[arg(long, value_name = "TIME", default_value_t = Span(Limits::default().udp_idle), hide_short_help = true)]
    udp_idle: Span,
    #[arg(long, value_name = "N", default_value_t = Limits::default().inbox_high, value_parser = whole::<usize>(1..=1 << 20), hide_short_help = true)]
    inbox_high: usize,
    #[arg(long, value_name = "N", default_value_t = Limits::default().mail_per_mail_max, value_parser = whole::<usize>(1..=1 << 20), hide_short_help = true)]
    mail_per_mail_max: usize,
    #[arg(long, value_name = "BYTES", default_value_t = Size(Limits::default().memory_max), hide_short_help = true)]
    memory_max: Size,
}

impl LimitFlags {
    /// What a file says of the marks, of output that makes no progress and of the drain: unless a flag has said otherwise.
    pub(crate) fn set_beside_flags(&mut self, file: &Limits) {
        let (usual, marks) = (Limits::default(), file.marks);
        for (flag, usual, bytes) in [
            (&mut self.output_low, usual.marks.low, marks.low),
            (&mut self.output_high, usual.marks.high, marks.high),
            (&mut self.output_hard, usual.marks.hard, marks.hard),
            (&mut self.memory_max, usual.memory_max, file.memory_max),
        ] {
            if *flag == Size(usual) {
                *flag = Size(bytes);
            }
        }
        for (flag, usual, time) in
            [(&mut self.stall, usual.stall, file.stall), (&mut self.drain, usual.drain, file.drain)]
        {
            if *flag == Span(usual) {
                *flag = Span(time);
            }
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            marks: Marks { low: self.output_low.0, high: self.output_high.0, hard: self.output_hard.0 },
            untaken_bytes_max: self.untaken_bytes_max.0,
            turn_bytes_max: self.turn_bytes_max.0,
            stall: self.stall.0,
            linger: self.linger.0,
            linger_bytes_max: self.linger_bytes_max.0,
            drain: self.drain.0,
            udp_peers_max: self.udp_peers_max,
            udp_idle: self.udp_idle.0,
            inbox_high: self.inbox_high,
            mail_per_mail_max: self.mail_per_mail_max,
            memory_max: self.memory_max.0,
        }
    }
}

// Which family of addresses, which own address, and how long: what both ends of the pipe take.
#[derive(Debug, Args)]
pub(crate) struct Way {
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub(crate) ipv4: bool,
    #[arg(short = '6', long)]
    pub(crate) ipv6: bool,
    #[arg(long, value_name = "ADDR")]
    pub(crate) source: Option<String>,
    #[arg(long, value_name = "TIMES", default_value = "0", value_parser = whole::<u32>(0..=1_000_000))]
    pub(crate) retry: u32,
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    pub(crate) keepalive: Option<Span>,
    #[arg(short = 'w', long = "timeout", value_name = "TIME", value_parser = some_time)]
    pub(crate) timeout: Option<Span>,
    #[arg(short = 'C', long)]
    pub(crate) crlf: bool,
    #[arg(short = 'x', long = "hex")]
    pub(crate) hex: bool,
    #[arg(short = 'o', long = "log", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) log: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    #[arg(value_name = "ADDR", value_hint = ValueHint::Hostname)]
    pub(crate) address: String,
    #[arg(short = 'm', long, value_name = "TEXT", conflicts_with = "check")]
    pub(crate) message: Option<String>,
    #[arg(short = 'z', long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) way: Way,
    #[command(flatten)]
    pub(crate) ws: ConnectWs,
    #[command(flatten)]
    pub(crate) tls: ConnectTls,
}

#[derive(Debug, Args)]
pub(crate) struct Listen {
    #[arg(value_name = "ADDR", required = true, value_hint = ValueHint::Hostname)]
    pub(crate) addresses: Vec<String>,
    #[arg(short = 'k', long)]
    pub(crate) keep_open: bool,
    #[arg(long, value_name = "PROG", value_hint = ValueHint::CommandName)]
    pub(crate) exec: Option<OsString>,
    // After `--`, so that the program's flags are its own and no shell splits anything.
    #[arg(value_name = "ARG", last = true, requires = "exec")]
    pub(crate) exec_args: Vec<OsString>,
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub(crate) allow: Vec<String>,
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub(crate) deny: Vec<String>,
    #[arg(long, value_name = "N", default_value = "64", value_parser = whole::<u32>(1..=1 << 20))]
    pub(crate) max_conns: u32,
    #[command(flatten)]
    pub(crate) way: Way,
    #[command(flatten)]
    pub(crate) tls: ServeTls,
}

#[derive(Debug, Args)]
pub(crate) struct Models {
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Help {
    // `help cert new` as `cert new --help`.
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;

    #[track_caller]
    fn parse(line: &str) -> Cli {
        Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_server_has_its_own_default_address() {
        let mut seen = std::collections::BTreeSet::new();
        for (line, port) in [
            ("sotong echo", "12345"),
            ("sotong discard", "10009"),
            ("sotong chargen", "10019"),
            ("sotong daytime", "10013"),
            ("sotong time", "10037"),
        ] {
            let (Command::Echo(serve)
            | Command::Discard(serve)
            | Command::Chargen(serve)
            | Command::Daytime(serve)
            | Command::Time(serve)) = parse(line).command
            else {
                panic!("{line} is a server")
            };
            assert_eq!(serve.addresses, [format!("127.0.0.1:{port}")]);
            seen.insert(port);
        }
        let Command::Room(room) = parse("sotong room").command else { panic!("a room") };
        assert_eq!(room.serve.addresses, ["127.0.0.1:8888"]);
        assert_eq!(room.limits(), RoomLimits::default());
        assert_eq!(seen.len(), 5);
    }

    #[test]
    fn limits_without_flags_are_the_defaults_of_the_library() {
        let Command::Echo(serve) = parse("sotong echo").command else { panic!("echo") };
        assert_eq!(serve.limits.limits(), Limits::default());
        assert_eq!(serve.hold.limits(), HoldLimits::default());
    }

    #[test]
    fn each_limit_flag_sets_its_limit() {
        let line = "sotong echo --output-low 1 --output-high 2 --output-hard 3 --untaken-bytes-max 4 --turn-bytes-max 5 \
                    --stall 6 --linger 7 --linger-bytes-max 8 --drain 9 --udp-peers-max 10 --udp-idle 11 --inbox-high 12 \
                    --mail-per-mail-max 13 --hold-idle 14 --hold-time 15 --memory-max 16";
        let Command::Echo(serve) = parse(line).command else { panic!("echo") };
        let seconds = std::time::Duration::from_secs;
        let expect = Limits {
            marks: Marks { low: 1, high: 2, hard: 3 },
            untaken_bytes_max: 4,
            turn_bytes_max: 5,
            stall: seconds(6),
            linger: seconds(7),
            linger_bytes_max: 8,
            drain: seconds(9),
            udp_peers_max: 10,
            udp_idle: seconds(11),
            inbox_high: 12,
            mail_per_mail_max: 13,
            memory_max: 16,
        };
        assert_eq!(serve.limits.limits(), expect);
        assert_eq!(serve.hold.limits(), HoldLimits { idle: seconds(14), time: seconds(15) });
    }

    #[test]
    fn a_program_keeps_its_own_flags() {
        let cli = parse("sotong listen :0 --exec grep -- -v --lang x");
        let Command::Listen(listen) = cli.command else { panic!("listen") };
        assert_eq!(listen.exec.as_deref(), Some("grep".as_ref()));
        assert_eq!(listen.exec_args, ["-v", "--lang", "x"]);
        assert_eq!(cli.global.verbose, 0);
    }

    #[test]
    fn global_flags_work_on_either_side_of_the_command() {
        for line in ["sotong -vv --lang ko echo", "sotong echo -vv --lang ko", "sotong -v echo -v --lang=ko"] {
            let matches = Cli::command().get_matches_from(line.split_whitespace());
            let cli = Cli::from_arg_matches(&matches).expect("parses");
            assert_eq!((cli.global.verbose > 0, cli.global.lang), (true, Some(Lang::Ko)), "{line}");
        }
    }
}
