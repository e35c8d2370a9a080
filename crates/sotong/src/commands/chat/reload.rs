//! SIGHUP and REHASH: the file is read anew, and what it says is so from then on, for those who are there, too.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sotong_chat::{ChatOptions, ChatService};

use super::{
    listening::check_sts,
    ways::{self, Places},
};
use crate::catalogue::{Catalogue, Lang};
use crate::commands::serve_tls::{Tls, reload_certificates};
use crate::config::{Config, sts::Heard};
use crate::failure::Failure;

/// Reads the configuration anew.
pub(super) struct Reloader {
    /// The file, where there is one.
    path: Option<PathBuf>,
    /// What the server was started with: of this some stays.
    started: Config,
    base: ChatOptions,
    service: ChatService,
    tls: Vec<Arc<Tls>>,
    heard: Vec<Heard>,
    places: Arc<Places>,
    /// One at a time: the last one that begins is the one that holds.
    turn: Mutex<()>,
}

impl Reloader {
    pub(super) fn new(
        path: Option<PathBuf>,
        (started, base): (Config, ChatOptions),
        service: ChatService,
        (tls, heard, places): (Vec<Arc<Tls>>, Vec<Heard>, &Arc<Places>),
    ) -> Self {
        Self { path, started, base, service, tls, heard, places: Arc::clone(places), turn: Mutex::default() }
    }

    /// Reads file and certificates; with a mistake in the file everything stays as it was, certificates too. The settings that
    /// have changed and wait for the next start.
    ///
    /// # Errors
    /// What is wrong, in one line.
    pub(super) fn reload(&self) -> Result<Vec<&'static str>, String> {
        let mut waiting = Vec::new();
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.path {
            let config = Config::read(path).map_err(|failure| line(&failure))?;
            waiting = config.needs_start(&self.started);
            if !waiting.is_empty() {
                let settings = waiting.join(", ");
                tracing::warn!(settings, "these settings change with the next start; until then they are as they were");
            }
            let config = config.since(&self.started);
            check_sts(&config, &self.heard).map_err(|failure| line(&failure))?;
            let base = ChatOptions { ways: ways::page(&config, &self.places), ..self.base.clone() };
            self.service.reload(config.chat_options(base));
        }
        reload_certificates(&self.tls).map(|()| waiting)
    }
}

/// A failure in one line of English, for a log.
fn line(failure: &Failure) -> String {
    match failure {
        Failure::Config(faults) => faults.line(),
        other => other.message(&Catalogue::new(Lang::En)),
    }
}
