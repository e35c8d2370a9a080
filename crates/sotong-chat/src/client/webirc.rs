//! WEBIRC (IRCv3 webirc): a gateway says whom it brings.
use super::{Client, Leaving, Stage, Talk};
use crate::{
    Chat,
    lookups::Source,
    opers::{HASHED, is_same_secret},
    options::Gateway,
};
use sotong_irc::{Message, numeric};
use sotong_session::Moment;
use std::{net::IpAddr, sync::Arc, vec::IntoIter};

/// Whom a gateway brings.
struct Brings {
    ip: IpAddr,
    /// It says that the way to it is encrypted.
    is_secure: bool,
}

/// Somebody whom a gateway has brought, counted among those of his own address and not of the gateway's, until this is dropped.
pub(super) struct Brought {
    chat: Arc<Chat>,
    gateway: Option<IpAddr>,
    ip: IpAddr,
}

impl Drop for Brought {
    fn drop(&mut self) {
        let mut doors = self.chat.doors();
        doors.leave(self.ip);
        // What has counted the gateway when it came takes that back itself.
        if let Some(gateway) = self.gateway {
            doors.put_back(gateway);
        }
    }
}

impl Talk<'_, '_> {
    /// `WEBIRC password gateway hostname ip [:options]`. It is a gateway's first word, and one that is wrong its last.
    pub(super) fn webirc(&mut self, message: &Message<'_>) {
        let Stage::New(newcomer) = &self.client.stage else {
            return self.reply(numeric::ERR_ALREADYREGISTERED, &[], "You may not reregister");
        };
        if newcomer.lines > 1 {
            return self.refuse_gateway("WEBIRC comes before everything else");
        }
        let from = newcomer.gateway;
        let (Some(password), Some(ip)) = (message.param(0), message.param(3)) else {
            return self.refuse_gateway("Too little was said by WEBIRC");
        };
        let ip = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
        let Ok(ip) = ip.parse::<IpAddr>() else { return self.refuse_gateway("That is no address") };
        let options = self.client.chat.options();
        let comes_from = |gateway: &&Gateway| {
            from.is_some_and(|from| gateway.allowed_from.iter().any(|network| network.contains(from)))
        };
        let known: Vec<Gateway> = options.gateways.iter().filter(comes_from).cloned().collect();
        drop(options);
        let known: Vec<Gateway> =
            known.into_iter().filter(|gateway| self.shows(&gateway.certificate, &gateway.password)).collect();
        let says = message.param(4).unwrap_or("").split(' ');
        let is_secure =
            says.map(|option| option.split_once('=').map_or(option, |(name, _)| name)).any(|o| o == "secure");
        self.prove_gateway(known.into_iter(), password, Brings { ip: ip.to_canonical(), is_secure });
    }
    /// Whether one of the gateways that come from there has that password.
    fn prove_gateway(&mut self, mut known: IntoIter<Gateway>, password: &str, brings: Brings) {
        while let Some(gateway) = known.next() {
            if gateway.password.starts_with(HASHED) {
                let (password, hash) = (password.to_owned(), Some(gateway.password.as_str().into()));
                return self.verify(&password.clone(), hash, move |talk, is_right| match is_right {
                    Ok(true) => talk.bring(&brings),
                    Ok(false) => talk.prove_gateway(known, &password, brings),
                    Err(_) => talk.refuse_gateway("The server has too much to do; try again later"),
                });
            }
            if gateway.password.is_empty() || is_same_secret(&gateway.password, password) {
                return self.bring(&brings);
            }
        }
        self.refuse_gateway("You are no gateway");
    }
    fn refuse_gateway(&mut self, why: &str) {
        self.client.chat.counters.hit("webirc");
        self.client.leaving = Some(Leaving::Quit(why.into()));
    }
    /// From here on the connection is that of whom the gateway brings: his address counts, and nothing that the gateway has
    /// shown.
    fn bring(&mut self, brings: &Brings) {
        let Brings { ip, is_secure } = *brings;
        let Stage::New(newcomer) = &mut self.client.stage else { return };
        newcomer.source = Some(Source::brought(ip));
        let (is_near, counted) = (newcomer.gateway.is_some_and(|ip| ip.is_loopback()), newcomer.counted);
        let client = &mut *self.client;
        // The way is as safe as its two parts.
        client.is_secure = is_secure && (client.is_secure || is_near);
        client.ip = Some(ip);
        client.host = client.chat.shown_ip(ip, true).into();
        client.cert = None;
        if let Err(limit) = client.count_anew(ip, counted, self.cx.now) {
            self.client.chat.counters.hit(limit);
            self.client.leaving = Some(Leaving::Quit("too many connections from your address".into()));
        }
    }
}

impl Client {
    fn count_anew(&mut self, ip: IpAddr, counted: Option<IpAddr>, now: Moment) -> Result<(), &'static str> {
        let chat = Arc::clone(&self.chat);
        let limits = chat.options().limits;
        if !limits.flood_control {
            return Ok(());
        }
        let mut doors = chat.doors();
        let gateway = counted.filter(|gateway| doors.take_back(*gateway));
        let entered = doors.enter(ip, now, &limits);
        drop(doors);
        self.brought = Some(Box::new(Brought { chat: Arc::clone(&chat), gateway, ip }));
        entered
    }
}
