//! `sotong chat`: IRC and plain text in the same rooms, on one port.

mod keeping;
mod listening;
mod reload;
mod ways;

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sotong_chat::{ChatOptions, ChatService, Herald, Mail, Rehash};
use sotong_drivers::Plan;
use sotong_session::Wall;

use self::keeping::{Keeping, Kept};
use self::listening::Entrances;
use self::reload::Reloader;
use self::ways::Places;
use crate::catalogue::text;
use crate::cli::{Chat, ChatFlags, Serve};
use crate::commands::password;
use crate::commands::serve::{self, Listening};
use crate::config::{self, Config, example};
use crate::console::Console;
use crate::failure::{Failure, ReadProblem};

/// Opens a chat until a signal comes.
pub(crate) fn run(args: Chat, console: &Console) -> Result<(), Failure> {
    let Chat { mut serve, chat: flags } = args;
    if flags.hash_password {
        return password::hash(console);
    }
    if flags.example_config {
        return console.out(&example(&console.catalogue));
    }
    let config = match &flags.config {
        Some(path) => read(path, &flags, &serve, console)?,
        None => of_flags(&flags)?,
    };
    let entrances = Entrances::new(&config, &flags, &serve)?;
    if let Some(path) = flags.config.as_ref().filter(|_| flags.check_config) {
        console.say(&text!(console.catalogue, "config-ok", file = path.display().to_string()));
        return Ok(());
    }
    limit(&mut serve, &config);
    let has_file = flags.config.is_some();
    let keeping = match (&flags.config, &flags.data_dir) {
        (Some(_), _) => Keeping::In(config.top.data_dir.path.clone()),
        (None, Some(folder)) => Keeping::In(folder.clone()),
        (None, None) => Keeping::usual(&entrances.at),
    };
    let Kept { records, desks, cloak_key, said } =
        keeping.open(config.accounts.password_hash_cost.0.of_chat(), console)?;
    let places = Arc::new(Places::new(&entrances.entrances, &entrances.pins));
    let base = ChatOptions {
        ways: ways::page(&config, &places),
        created: Wall(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)),
        cloak_key,
        ..ChatOptions::default()
    };
    let service = ChatService::new(config.chat_options(base.clone()));
    service.restore(records);
    let reloader =
        Reloader::new(flags.config, (config, base), service.clone(), (entrances.tls.clone(), entrances.heard, &places));
    let reloader = Arc::new(reloader);
    let rehash = Arc::clone(&reloader);
    service.on_rehash(Rehash::new(move || rehash.reload()));
    let Entrances { at, tls, entrances, .. } = entrances;
    let ways = ways::spoken(said, &places, has_file, console);
    let listening = Listening { at, tls, reload: Arc::new(move || reloader.reload().map(drop)), ways };
    let chat = service.clone().with_entrances(entrances);
    let desks = told_of_reloads(&service, desks.into_iter().chain(keeping::lookups()).collect());
    let result = serve::run_whole("chat", &serve, listening, chat, desks, console);
    for (limit, count) in service.counters() {
        tracing::info!(service = "chat", limit, count, "limit reached");
    }
    result
}

/// Lets those who are there be told when the file is read anew. The way to them comes with the first of the desks.
fn told_of_reloads(service: &ChatService, desks: Vec<Plan<Mail>>) -> Vec<Plan<Mail>> {
    let mut desks = desks.into_iter();
    let service = service.clone();
    let first = desks.next().map(|first| {
        first.when_begun(move |outside| {
            service.told_by(Herald::new(move |to, mail| {
                // Whoever has gone meanwhile needs no news.
                outside.post(to, mail);
            }));
        })
    });
    first.into_iter().chain(desks).collect()
}

/// Reads the file, and says what of it has no effect yet.
fn read(path: &Path, flags: &ChatFlags, serve: &Serve, console: &Console) -> Result<Config, Failure> {
    let config = Config::read(path)?;
    if config.says_history {
        let file = path.display().to_string();
        console.warn("history", |catalogue| text!(catalogue, "config-history-later", file = file.clone()));
    }
    listening::check_flags(flags, serve)?;
    Ok(config)
}

/// What the flags say, where there is no file.
fn of_flags(flags: &ChatFlags) -> Result<Config, Failure> {
    let mut config = Config::default();
    config.server.name.0.clone_from(&flags.server_name);
    config.server.network.0.clone_from(&flags.network);
    config.server.lobby.0.clone_from(&flags.lobby);
    config.limits.flood_control = !flags.no_flood_control;
    if let Some(path) = &flags.motd {
        config.motd = motd(path)?;
    }
    Ok(config)
}

fn motd(path: &Path) -> Result<Vec<String>, Failure> {
    let failed = |why| Failure::Read { path: path.display().to_string(), why: ReadProblem::Io(why) };
    let text = config::motd(path).map_err(|fault| failed(fault.kind()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// The limits of the driver that the file may set: a flag that was given says more.
fn limit(serve: &mut Serve, config: &Config) {
    let limits = &config.limits;
    serve.limits.set_beside_flags(&config.driver_limits());
    let connections = limits.connections.0;
    // Without a number the driver takes its own, which is the default of the file, too.
    if connections != config::Limits::default().connections.0 && serve.limits.max_conns.is_none() {
        let all = u32::try_from(connections).ok().filter(|connections| *connections > 0);
        serve.limits.max_conns = Some(all.unwrap_or(CONNECTIONS_MAX));
    }
}

/// As many as there can be: what descriptors leave room for is less.
const CONNECTIONS_MAX: u32 = 1 << 20;
